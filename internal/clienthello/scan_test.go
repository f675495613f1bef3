package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"
)

// first returns the first bytes of a TLS client, up to the end of its ClientHello.
func first(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go tls.Client(far, config).Handshake()
	b := make([]byte, MaxStream)
	n, err := near.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// inRecords returns a handshake message in records of at most size bytes each.
func inRecords(message []byte, size int) (b []byte) {
	for part := range slices.Chunk(message, size) {
		b = append(b, 22, 3, 1, byte(len(part)>>8), byte(len(part)))
		b = append(b, part...)
	}
	return b
}

// sized returns a ClientHello of size bytes, header included, all of them 0 after the header.
func sized(size int) []byte {
	n := size - messageHeader
	return append([]byte{messageHello, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...)
}

func TestScanCompletesAtTheLastByte(t *testing.T) {
	real := first(t, &tls.Config{ServerName: "localhost"})
	for name, hello := range map[string][]byte{
		"as crypto/tls sends it": real,
		"in records of one byte": inRecords(real[recordHeader:], 1),
		"in records of three":    inRecords(real[recordHeader:], 3),
		"as large as may be":     inRecords(sized(MaxSize), MaxSize),
	} {
		for n := range hello {
			if _, err := Scan(hello[:n]); err != ErrIncomplete {
				t.Fatalf("%s: %d of %d bytes: %v", name, n, len(hello), err)
			}
		}
		if size, err := Scan(hello); err != nil || size < 100 {
			t.Errorf("%s: complete: size %d, %v", name, size, err)
		}
		if size, err := Scan(append(slices.Clone(hello), "more"...)); err != nil || size < 100 {
			t.Errorf("%s: with more behind it: size %d, %v", name, size, err)
		}
	}
}

func TestScanRefusesALargeHelloByItsHeader(t *testing.T) {
	large := sized(MaxSize + 1)
	for name, b := range map[string][]byte{
		"one record":          inRecords(large, MaxSize)[:recordHeader+messageHeader],
		"records of one byte": inRecords(large, 1)[:messageHeader*(recordHeader+1)],
		"too many records":    inRecords(sized(MaxSize), 1)[:MaxStream],
	} {
		if _, err := Scan(b); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScanRefusesOtherStreams(t *testing.T) {
	for text, want := range map[string]error{
		"GET / HTTP/1.1\r\n":               ErrNotTLS,
		"\x80\x2e\x01\x03":                 ErrNotTLS, // SSLv2
		"\x15\x03\x01\x00\x02":             ErrNotTLS,
		"\x16\x10":                         ErrNotTLS,
		"\x16\x03\x01\x00\x00":             ErrMalformed,
		"\x16\x03\x01\xff\xff":             ErrMalformed,
		"\x16\x03\x01\x00\x05\x02":         ErrMalformed,
		"\x16\x03\x01\x00\x01\x01\x17":     ErrMalformed,
		"\x16\x03\x01\x00\x01\x01\x16\x7f": ErrMalformed,
		"":                                 ErrIncomplete,
		"\x16":                             ErrIncomplete,
		"\x16\x03\x01\x00\x05":             ErrIncomplete,
		"\x16\x02\x00\x00\x05\x01":         ErrIncomplete, // the version has no meaning
	} {
		if _, err := Scan([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

// FuzzScan checks that more of a stream changes no answer but ErrIncomplete.
func FuzzScan(f *testing.F) {
	f.Add(inRecords(sized(300), 7), 20)
	f.Add(bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 10), 7)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		size, err := Scan(b)
		if size > MaxSize && err == nil {
			t.Errorf("a ClientHello of %d bytes is accepted", size)
		}
		if n < 0 || n > len(b) {
			return
		}
		before, beforeErr := Scan(b[:n])
		if !errors.Is(beforeErr, ErrIncomplete) && (before != size || !same(beforeErr, err)) {
			t.Errorf("after %d bytes: %d, %v; after all %d: %d, %v", n, before, beforeErr, len(b), size, err)
		}
	})
}

func same(a, b error) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
}
