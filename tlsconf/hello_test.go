package tlsconf

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"
)

// clientHello returns the first bytes of a TLS client, up to the end of its ClientHello.
func clientHello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go tls.Client(far, config).Handshake()
	b := make([]byte, 16<<10)
	n, err := near.Read(b)
	must(t, err)
	return b[:n]
}

// inRecords returns a handshake message in records of a size each.
func inRecords(message []byte, size int) (b []byte) {
	for part := range slices.Chunk(message, size) {
		b = append(b, 22, 3, 1, byte(len(part)>>8), byte(len(part)))
		b = append(b, part...)
	}
	return b
}

// message returns a ClientHello of a size, header included.
func message(size int) []byte {
	n := size - messageHeader
	return append([]byte{messageHello, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...)
}

func TestHelloIsCompleteAtItsLastByteOnly(t *testing.T) {
	real := clientHello(t, &tls.Config{ServerName: "localhost"})
	for name, hello := range map[string][]byte{
		"as crypto/tls sends it": real,
		"in records of one byte": inRecords(real[recordHeader:], 1),
		"in records of three":    inRecords(real[recordHeader:], 3),
		"as large as may be":     inRecords(message(maxHello), 16<<10),
		"a little beyond it":     append(slices.Clone(real), "more"...)[:len(real)],
	} {
		for n := range hello {
			if _, done, err := scanHello(hello[:n]); done || err != nil {
				t.Fatalf("%s: %d of %d bytes: done %v, %v", name, n, len(hello), done, err)
			}
		}
		if size, done, err := scanHello(hello); !done || err != nil || size < 100 {
			t.Errorf("%s: complete: size %d, done %v, %v", name, size, done, err)
		}
	}
}

func TestHelloThatIsTooLargeIsKnownByItsHeader(t *testing.T) {
	large := message(maxHello + 1)
	for name, b := range map[string][]byte{
		"one record":          inRecords(large, 16<<10)[:recordHeader+messageHeader],
		"records of one byte": inRecords(large, 1)[:messageHeader*(recordHeader+1)],
	} {
		if _, done, err := scanHello(b); !errors.Is(err, errHelloTooLarge) {
			t.Errorf("%s: done %v, %v", name, done, err)
		}
	}
}

func TestWhatIsNoHelloIsNotWaitedFor(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\n", "\x15\x03\x01\x00\x02", "\x16\x02\x01\x00\x05\x01", "\x16\x03\x01\x00\x00",
		"\x16\x03\x01\xff\xff", "\x16\x03\x01\x00\x05\x02",
	} {
		if _, done, err := scanHello([]byte(text)); !done || err != nil {
			t.Errorf("%q: done %v, %v", text, done, err)
		}
	}
}

func FuzzScanHello(f *testing.F) {
	f.Add(inRecords(message(300), 7))
	f.Add(bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, 10))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, _, err := scanHello(b)
		if size > maxHello && err == nil {
			t.Errorf("a ClientHello of %d bytes is accepted", size)
		}
	})
}
