package lumberjack

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAckReader(t *testing.T) {
	const two = "2A\x00\x00\x00\x00" + "2A\x00\x01\x02\x03"
	for name, r := range map[string]io.Reader{
		"at once":         strings.NewReader(two),
		"byte by byte":    iotest.OneByteReader(strings.NewReader(two)),
		"data with error": iotest.DataErrReader(strings.NewReader(two)),
	} {
		a := NewAckReader(r)
		for _, want := range []uint32{0, 0x010203} {
			if seq, err := a.Next(); seq != want || err != nil {
				t.Errorf("%s: %d, %v; want %d", name, seq, err, want)
			}
		}
		if _, err := a.Next(); err != io.EOF {
			t.Errorf("%s: the end gives %v", name, err)
		}
	}
}

func TestAckReaderErrors(t *testing.T) {
	for said, want := range map[string]string{
		"":                             "EOF",
		"2":                            "unexpected EOF",
		"2A":                           "unexpected EOF",
		"2A\x00\x00\x00":               "unexpected EOF",
		"1A\x00\x00\x00\x01":           `begins with "1A\x00\x00\x00\x01": it speaks version 1`,
		"2W\x00\x00\x00\x01":           `begins with "2W\x00\x00\x00\x01"`,
		"x":                            `begins with "x"`,
		"2x":                           `begins with "2x"`,
		"HTTP/1.1 400 Bad Request\r\n": `"HTTP/1.1 400 Bad Request": an HTTP server is there`,
		"\x15\x03\x01\x00\x02\x02\x46": "it speaks TLS, so write lumberjack+tls://",
		strings.Repeat("\x00", 10<<10): `begins with "\x00`,
	} {
		_, err := NewAckReader(strings.NewReader(said)).Next()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", said, err, want)
		}
	}
}

// A timeout within an acknowledgement loses none of its bytes.
func TestAckReaderGoesOnAfterTimeout(t *testing.T) {
	const frame = "2A\x00\x00\x01\x00"
	for cut := range len(frame) {
		r := &pausing{said: frame, pause: cut}
		a := NewAckReader(r)
		if _, err := a.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %d bytes: %v", cut, err)
		}
		if seq, err := a.Next(); seq != 256 || err != nil {
			t.Errorf("after %d bytes and a timeout: %d, %v", cut, seq, err)
		}
	}
}

// pausing is a reader with a timeout, once, before byte number pause.
type pausing struct {
	said        string
	at, pause   int
	interrupted bool
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.at == p.pause && !p.interrupted {
		p.interrupted = true
		return 0, os.ErrDeadlineExceeded
	}
	if p.at == len(p.said) {
		return 0, io.EOF
	}
	b[0] = p.said[p.at]
	p.at++
	return 1, nil
}

// FuzzAckReader compares with frames of six bytes that are cut from the front.
func FuzzAckReader(f *testing.F) {
	f.Add([]byte("2A\x00\x00\x00\x00"), false)
	f.Add([]byte("2A\x00\x00\x00\x072A\xff\xff\xff\xff2"), true)
	f.Add([]byte("2A\x00\x00\x00\x07HTTP/1.1 400 Bad Request\r\n"), false)
	f.Fuzz(func(t *testing.T, said []byte, slowly bool) {
		var r io.Reader = strings.NewReader(string(said))
		if slowly {
			r = iotest.OneByteReader(r)
		}
		a := NewAckReader(r)
		for ; len(said) >= 6 && said[0] == '2' && said[1] == 'A'; said = said[6:] {
			if seq, err := a.Next(); err != nil || seq != binary.BigEndian.Uint32(said[2:]) {
				t.Fatalf("%q: %d, %v", said, seq, err)
			}
		}
		if seq, err := a.Next(); err == nil || (err == io.EOF) != (len(said) == 0) {
			t.Fatalf("%q: %d, %v", said, seq, err)
		}
	})
}
