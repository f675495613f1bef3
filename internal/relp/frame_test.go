package relp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAppendWritesFrames(t *testing.T) {
	for want, f := range map[string]Frame{
		"1 open 14 relp_version=0\n":            {1, Open, []byte("relp_version=0")},
		"2 syslog 5 hello\n":                    {2, Syslog, []byte("hello")},
		"3 syslog 0\n":                          {3, Syslog, nil},
		"4 syslog 4 \n \x00\n\n":                {4, Syslog, []byte("\n \x00\n")},
		"999999999 close 0\n":                   {MaxNumber, Close, nil},
		"0 serverclose 0\n":                     {0, ServerClose, nil},
		"5 syslog 12 1 syslog 0\n\xff\n":        {5, Syslog, []byte("1 syslog 0\n\xff")},
		"6 " + strings.Repeat("c", 32) + " 0\n": {6, strings.Repeat("c", 32), nil},
	} {
		if got := Append([]byte("x"), f.Number, f.Command, f.Data); string(got) != "x"+want {
			t.Errorf("Append: %q, want %q after the x", got, want)
		}
		got, err := readAll(strings.NewReader(want+want), 4096, 100)
		if !equal(got, []Frame{f, f}) || err != io.EOF {
			t.Errorf("frames of twice %q: %v, %v", want, got, err)
		}
	}
}

func TestNumbersBeginAgainAfterTheLargest(t *testing.T) {
	for n, want := range map[uint32]uint32{0: 1, 1: 2, MaxNumber - 1: MaxNumber, MaxNumber: 1} {
		if got := Next(n); got != want {
			t.Errorf("Next(%d) = %d, want %d", n, got, want)
		}
	}
}

// readErrors maps streams to a part of the error with which the limit of 20 bytes ends them.
var readErrors = map[string]string{
	"":                                   "EOF",
	"x":                                  `the transaction number begins with 'x' instead of a digit`,
	"\n":                                 `the transaction number begins with '\n' instead of a digit`,
	" 1 syslog 0\n":                      `the transaction number begins with ' ' instead of a digit`,
	"-1 syslog 0\n":                      `the transaction number begins with '-' instead of a digit`,
	"1":                                  "within the transaction number: unexpected EOF",
	"1\n":                                `'\n' instead of a space after the transaction number`,
	"1a syslog 0\n":                      `'a' instead of a space after the transaction number`,
	"1234567890 syslog 0\n":              "the transaction number has more than 9 digits",
	"1 ":                                 "within the command: unexpected EOF",
	"1  syslog 0\n":                      `the command begins with ' ' instead of a letter`,
	"1 sys-log 0\n":                      `'-' instead of a space after the command "sys"`,
	"1 syslog\n":                         `'\n' instead of a space after the command "syslog"`,
	"1 @[`{ 0\n":                         `the command begins with '@' instead of a letter`,
	"1 a[ 0\n":                           `'[' instead of a space after the command "a"`,
	"1 " + strings.Repeat("c", 33):       "the command has more than 32 letters",
	"1 syslog ":                          "within the length of the data: unexpected EOF",
	"1 syslog x\n":                       `the length of the data begins with 'x' instead of a digit`,
	"1 syslog 0 \n":                      `' ' instead of a line feed after the length 0 of the data`,
	"1 syslog 5\nhello\n":                `'\n' instead of a space after the length of the data`,
	"1 syslog 0000000001 x\n":            "the length of the data has more than 9 digits",
	"1 syslog 5 ":                        "within the data: unexpected EOF",
	"1 syslog 5 hell":                    "within the data: unexpected EOF",
	"1 syslog 5 hello":                   "within the data: unexpected EOF",
	"1 syslog 5 hello!\n":                `'!' instead of a line feed after the data`,
	"1 syslog 20 " + pad(20) + "!":       `'!' instead of a line feed after the data`,
	"1 syslog 21 " + pad(21):             "too much data: 21 bytes, and the limit is 20",
	"1 syslog 999999999 x":               "too much data: 999999999 bytes, and the limit is 20",
	"1 syslog 1000000000 x":              "the length of the data has more than 9 digits",
	"POST / HTTP/1.1\r\nHost: h\r\n\r\n": `the transaction number begins with 'P' instead of a digit`,
}

func pad(n int) string { return strings.Repeat("p", n) }

func TestErrorsNameTheFault(t *testing.T) {
	for in, want := range readErrors {
		for _, size := range []int{16, 4096} {
			for what, stream := range map[string]io.Reader{
				"at once":       strings.NewReader(in),
				"byte by byte":  iotest.OneByteReader(strings.NewReader(in)),
				"data with EOF": iotest.DataErrReader(strings.NewReader(in)),
			} {
				f, err := NewReader(bufio.NewReaderSize(stream, size), 20).Next()
				if err == nil || !strings.HasSuffix(err.Error(), want) || f.Data != nil {
					t.Errorf("%q %s: %v, %v; want the error %s", in, what, f, err, want)
				}
			}
		}
	}
}

func TestReaderTellsTheEndFromOneWithinAFrame(t *testing.T) {
	const in = "1 syslog 5 hello\n"
	for n := range len(in) {
		_, err := readAll(strings.NewReader(in[:n]), 16, 100)
		if clean := err == io.EOF; clean != (n == 0) || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes: %v", n, err)
		}
		failed := errors.New("failed")
		_, err = readAll(io.MultiReader(strings.NewReader(in[:n]), iotest.ErrReader(failed)), 16, 100)
		if !errors.Is(err, failed) {
			t.Errorf("failing after %d bytes: %v", n, err)
		}
	}
}

// A client sends a line that is too long for a server again and again, if the server can only
// answer by breaking off.
func TestReaderGoesOnAfterTooMuchData(t *testing.T) {
	for _, size := range []int{16, 4096} {
		in := "7 syslog 21 " + pad(21) + "\n8 syslog 1 x\n9 syslog 3000 " + pad(3000) + "\n10 syslog 22 " + pad(21) + "\n\n" +
			"11 syslog 21 " + pad(22) + "\n"
		r := NewReader(bufio.NewReaderSize(strings.NewReader(in), size), 20)
		for _, want := range []Frame{
			{7, Syslog, nil}, {8, Syslog, []byte("x")}, {9, Syslog, nil}, {10, Syslog, nil}, {11, Syslog, nil},
		} {
			f, err := r.Next()
			if !equal([]Frame{f}, []Frame{want}) || errors.Is(err, ErrTooLong) != (want.Data == nil) {
				t.Errorf("%v, %v; want %v", f, err, want)
			}
		}
		if f, err := r.Next(); err == nil || !strings.HasSuffix(err.Error(), `'p' instead of a line feed after the data`) {
			t.Errorf("%v, %v", f, err)
		}
	}
}

// A header alone announced a gigabyte.
func TestAnnouncedDataTakesNoMemory(t *testing.T) {
	r := NewReader(bufio.NewReader(strings.NewReader("1 syslog 999999999 "+pad(40<<10))), MaxData)
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	long := pad(keepLong + 1)
	for range 2 {
		in := fmt.Sprintf("1 syslog %d %s\n2 close 0\n", len(long), long)
		r = NewReader(bufio.NewReader(strings.NewReader(in)), MaxData)
		if f, err := r.Next(); err != nil || string(f.Data) != long {
			t.Fatalf("%d bytes, %v", len(f.Data), err)
		}
		if f, err := r.Next(); err != nil || f.Command != Close || r.long != nil {
			t.Fatalf("%v, %v; %d bytes kept", f, err, cap(r.long))
		}
	}
	var failed bool
	allocated := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			r := NewReader(bufio.NewReader(strings.NewReader("1 syslog 999999999 x")), MaxData)
			_, err := r.Next()
			failed = failed || err == nil
		}
	}).AllocedBytesPerOp()
	if failed || allocated > 64<<10 {
		t.Errorf("%d bytes for a header", allocated)
	}
}

func TestFramesAreNotAllocated(t *testing.T) {
	in := strings.NewReader("")
	buffered := bufio.NewReader(in)
	r := NewReader(buffered, 100)
	line, b := []byte("a line"), make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		b = Append(b[:0], 1, Syslog, line)
		b = AppendResponse(b, 1, OK, "OK", line)
	}); n != 0 {
		t.Errorf("writing allocates %v times", n)
	}
	stream := string(b)
	if n := testing.AllocsPerRun(100, func() {
		in.Reset(stream)
		buffered.Reset(in)
		for range 2 {
			f, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if f.Command == Respond {
				ParseResponse(f.Data)
			}
		}
	}); n != 0 {
		t.Errorf("reading allocates %v times", n)
	}
}

// readAll reads frames until an error, with a buffer of the given size.
func readAll(stream io.Reader, size, limit int) (all []Frame, err error) {
	r := NewReader(bufio.NewReaderSize(stream, size), limit)
	for {
		f, err := r.Next()
		if err != nil {
			return all, err
		}
		f.Data = slices.Clone(f.Data)
		all = append(all, f)
	}
}

func equal(a, b []Frame) bool {
	return slices.EqualFunc(a, b, func(x, y Frame) bool {
		return x.Number == y.Number && x.Command == y.Command && bytes.Equal(x.Data, y.Data)
	})
}
