package relp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"testing"
	"testing/iotest"
)

var header = regexp.MustCompile(`^([0-9]{1,9}) ([a-zA-Z]{1,32}) ([0-9]{1,9})`)

// naive returns the frames at the beginning of a stream, as the grammar has them, and what is left.
func naive(stream []byte, limit int) (all []Frame, rest []byte) {
	for {
		m := header.FindSubmatch(stream)
		if m == nil {
			return all, stream
		}
		number, _ := strconv.Atoi(string(m[1]))
		size, _ := strconv.Atoi(string(m[3]))
		data := stream[len(m[0]):]
		if size > limit || len(data) < size+2 && size > 0 || size > 0 && data[0] != ' ' {
			return all, stream
		}
		if size > 0 {
			data = data[1:]
		}
		if len(data) == size || data[size] != '\n' {
			return all, stream
		}
		all = append(all, Frame{uint32(number), string(m[2]), data[:size]})
		stream = data[size+1:]
	}
}

// The reader agrees with a naive one, and what it has read can be written and read again.
func FuzzReader(f *testing.F) {
	for in := range readErrors {
		f.Add([]byte(in), uint16(20), true)
		f.Add([]byte("1 syslog 5 hello\n2 close 0\n"+in), uint16(30), false)
	}
	f.Add([]byte("1 open 85 relp_version=0\nrelp_software=librelp,1.2.0,http://librelp.adiscon.com\ncommands=syslog\n"),
		uint16(100), true)
	f.Fuzz(func(t *testing.T, in []byte, limit uint16, slow bool) {
		var stream io.Reader = bytes.NewReader(in)
		size := 4096
		if slow {
			stream, size = iotest.OneByteReader(stream), 16
		}
		got, err := readAll(stream, size, int(limit))
		want, rest := naive(in, int(limit))
		if !equal(got, want) || err == nil || (err == io.EOF) != (len(rest) == 0) {
			t.Fatalf("%q: %v, %v; want %v and %q left", in, got, err, want, rest)
		}
		var written []byte
		for _, f := range got {
			written = Append(written, f.Number, f.Command, f.Data)
			if r, err := ParseResponse(f.Data); err == nil && r.Status >= 100 && len(r.Text) <= maxText {
				again := AppendResponse(nil, f.Number, r.Status, string(r.Text), r.Data)
				frames, err := readAll(bytes.NewReader(again), size, len(again))
				if len(frames) != 1 {
					t.Fatalf("%+v is written as %q: %v, %v", r, again, frames, err)
				}
				parsed, err := ParseResponse(frames[0].Data)
				if err != nil || parsed.Status != r.Status || !bytes.Equal(parsed.Text, r.Text) ||
					!bytes.Equal(parsed.Data, r.Data) {
					t.Fatalf("%+v is written as %q, which is %+v, %v", r, again, parsed, err)
				}
			}
		}
		if again, err := readAll(bytes.NewReader(written), size, int(limit)); !equal(got, again) || err != io.EOF {
			t.Fatalf("%v is written as %q, which is %v, %v", got, written, again, err)
		}
	})
}

// Whatever is written can be read back.
func FuzzFrames(f *testing.F) {
	f.Add(uint32(1), []byte("hello"), 500, "no\nroom")
	f.Add(uint32(MaxNumber), []byte(" \n"), 200, "")
	f.Add(uint32(0), []byte(pad(5000)), 999, pad(100))
	f.Fuzz(func(t *testing.T, number uint32, data []byte, status int, text string) {
		number %= MaxNumber + 1
		status = 100 + int(uint(status)%900)
		stream := Append(nil, number, Syslog, data)
		stream = AppendResponse(stream, number, status, text, data)
		got, err := readAll(bytes.NewReader(stream), 64, len(stream))
		if len(got) != 2 || err != io.EOF || !equal(got[:1], []Frame{{number, Syslog, data}}) {
			t.Fatalf("%q is read as %v, %v", stream, got, err)
		}
		r, err := ParseResponse(got[1].Data)
		if err != nil || r.Status != status || len(r.Text) != min(len(text), maxText) || !bytes.Equal(r.Data, data) {
			t.Fatalf("%q is read as %+v, %v", got[1].Data, r, err)
		}
	})
}

// An offer that can be parsed says the same when it is written and parsed again.
func FuzzOffer(f *testing.F) {
	f.Add([]byte("relp_version=0\nrelp_software=librelp,1.2.0,http://librelp.adiscon.com\ncommands=syslog\n"))
	f.Add([]byte("\n\nrelp_version=000000001\ncommands=\nx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		o, err := ParseOffer(in)
		if err != nil {
			return
		}
		again, err := ParseOffer(o.Append(nil))
		if err != nil || !reflect.DeepEqual(o, again) {
			t.Fatalf("%+v is written as %q, which is %+v, %v", o, o.Append(nil), again, err)
		}
	})
}

// If Ready says so, Next needs no byte that is not read yet. It says so of each frame that is
// there.
func FuzzReady(f *testing.F) {
	for in := range readErrors {
		f.Add([]byte(in), uint16(20))
		f.Add([]byte("1 syslog 5 hello\n2 close 0\n"+in), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, limit uint16) {
		if len(in) > 4096 {
			return
		}
		below := &counting{r: bytes.NewReader(in)}
		buffered := bufio.NewReaderSize(below, 4096)
		buffered.Peek(len(in)) // all of it
		r := NewReader(buffered, int(limit))
		for {
			ready, before := r.Ready(), below.reads
			_, err := r.Next()
			if read := below.reads > before; ready && read || !ready && !read && err == nil {
				t.Fatalf("%q: ready is %v, and Next has read: %v (%v)", in, ready, read, err)
			}
			if err != nil && !errors.Is(err, ErrTooLong) {
				return
			}
		}
	})
}

// counting counts reads.
type counting struct {
	r     io.Reader
	reads int
}

func (c *counting) Read(p []byte) (int, error) {
	c.reads++
	return c.r.Read(p)
}
