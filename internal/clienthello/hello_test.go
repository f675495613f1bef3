package clienthello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// recorded is a connection that yields recorded bytes and discards what is written to it.
type recorded struct{ bytes.Reader }

func (*recorded) Write(p []byte) (int, error)      { return len(p), nil }
func (*recorded) Close() error                     { return nil }
func (*recorded) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*recorded) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*recorded) SetDeadline(time.Time) error      { return nil }
func (*recorded) SetReadDeadline(time.Time) error  { return nil }
func (*recorded) SetWriteDeadline(time.Time) error { return nil }

// model returns the Hello that crypto/tls reads, or its error.
func model(b []byte) (h Hello, err error) {
	read := errors.New("read")
	conn := new(recorded)
	conn.Reset(b)
	err = tls.Server(conn, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			h.ServerName, h.Protocols = info.ServerName, info.SupportedProtos
			h.Encrypted = slices.Contains(info.Extensions, extensionEncrypted)
			return nil, read
		},
	}).Handshake()
	if err == read {
		err = nil
	}
	return h, err
}

// extension returns an extension as it stands in a ClientHello.
func extension(kind uint16, data ...byte) []byte {
	b := []byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}
	return append(b, data...)
}

// names returns the extension that asks for server names, each after its type.
func names(list ...string) []byte {
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, name := range list {
			b.AddUint8(name[0])
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name[1:])) })
		}
	})
	return extension(extensionName, b.BytesOrPanic()...)
}

// hello returns a ClientHello with these extensions, as one message.
func hello(extensions ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddUint8(messageHello)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(tls.VersionTLS12)
		b.AddBytes(make([]byte, 32))
		b.AddUint8LengthPrefixed(func(*cryptobyte.Builder) {})
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(tls.TLS_AES_128_GCM_SHA256) })
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(0) })
		if extensions != nil {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(extensions...)) })
		}
	})
	return b.BytesOrPanic()
}

func equal(a, b Hello) bool {
	return a.ServerName == b.ServerName && a.Encrypted == b.Encrypted && slices.Equal(a.Protocols, b.Protocols)
}

// encrypted is the extension of a client that encrypts its true ClientHello, or seems to.
var encrypted = extension(extensionEncrypted, 0, 0, 1, 0, 1, 7, 0, 1, 'k', 0, 1, 'x')

func TestParse(t *testing.T) {
	alpn := extension(extensionALPN, 0, 12, 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1')
	for name, c := range map[string]struct {
		message []byte
		want    Hello
	}{
		"no extensions":      {hello(), Hello{}},
		"no name":            {hello(alpn), Hello{Protocols: []string{"h2", "http/1.1"}}},
		"name":               {hello(names("\x00www.example.com")), Hello{ServerName: "www.example.com"}},
		"name last":          {hello(alpn, names("\x00a")), Hello{ServerName: "a", Protocols: []string{"h2", "http/1.1"}}},
		"ECH":                {hello(names("\x00a"), encrypted), Hello{ServerName: "a", Encrypted: true}},
		"other kind of name": {hello(names("\x07b", "\x00a")), Hello{ServerName: "a"}},
		"strange bytes":      {hello(names("\x00\x00\xff\n")), Hello{ServerName: "\x00\xff\n"}},
	} {
		for _, size := range []int{MaxSize, 100, 7, 1} {
			b := inRecords(c.message, size)
			if got, err := Parse(b); err != nil || !equal(got, c.want) {
				t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
			}
			if got, err := model(b); err != nil || !equal(got, c.want) {
				t.Errorf("%s: crypto/tls reads %+v, %v", name, got, err)
			}
		}
	}
}

func TestParseRefusesMalformedHellos(t *testing.T) {
	whole := hello(names("\x00a"))
	longer := slices.Clone(whole)
	longer[3]++ // the message is a byte longer than its extensions
	for name, message := range map[string][]byte{
		"two names":            hello(names("\x00a", "\x00b")),
		"the extension twice":  hello(names("\x00a"), names("\x00b")),
		"an unknown one twice": hello(extension(99), extension(99)),
		"no list of names":     hello(extension(extensionName)),
		"an empty list":        hello(extension(extensionName, 0, 0)),
		"an empty name":        hello(names("\x00")),
		"a name cut off":       hello(extension(extensionName, 0, 4, 0, 0, 9, 'a')),
		"more after the list":  hello(extension(extensionName, 0, 4, 0, 0, 1, 'a', 0)),
		"an empty protocol":    hello(extension(extensionALPN, 0, 1, 0)),
		"no protocols":         hello(extension(extensionALPN, 0, 0)),
		"an extension cut off": hello([]byte{0, 0, 0, 9}),
		"more at the end":      append(longer, 0),
		"empty":                {messageHello, 0, 0, 1, 3},
	} {
		b := inRecords(message, MaxSize)
		if got, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if got, err := model(b); err == nil {
			t.Errorf("%s: crypto/tls accepts it: %+v", name, got)
		}
	}
}

// Package tls refuses a trailing dot, but the server behind linesplit may not.
func TestTrailingDotIsKept(t *testing.T) {
	got, err := Parse(inRecords(hello(names("\x00a.example.")), 9))
	if err != nil || got.ServerName != "a.example." {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseAllocatesLittle(t *testing.T) {
	b := first(t, &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h2"}})
	if n := testing.AllocsPerRun(100, func() { Parse(b) }); n > 8 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse compares Parse with crypto/tls: of a ClientHello that crypto/tls accepts, Parse must
// read the same. For part 1, b is all extensions of a ClientHello, for part 2 the content of the
// extension for names, and otherwise a whole stream.
func FuzzParse(f *testing.F) {
	f.Add(first(f, &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h2", "http/1.1"}}), 0, 0)
	f.Add(inRecords(hello(names("\x00a.example")), 9), 0, 3)
	f.Add(slices.Concat(names("\x01b", "\x00a"), encrypted), 1, 1)
	f.Add(slices.Concat(names("\x00a"), extension(extensionALPN, 0, 3, 2, 'h', '2')), 1, 50)
	f.Add(names("\x00a")[4:], 2, 50)
	f.Fuzz(func(t *testing.T, b []byte, part, size int) {
		if len(b) > 1<<15 {
			return
		}
		switch part {
		case 1:
			b = hello(b)
		case 2:
			b = hello(extension(extensionName, b...))
		}
		if size > 0 && size <= MaxSize {
			b = inRecords(b, size)
		}
		got, err := Parse(b)
		want, modelErr := model(b)
		switch {
		case modelErr != nil:
			return // crypto/tls reads parts of the message that Parse does not look at
		case err == nil && equal(got, want):
		case errors.Is(err, ErrTooLarge):
			if len(b) <= MaxSize {
				t.Errorf("of %d bytes: %v", len(b), err)
			}
		case (errors.Is(err, ErrNotTLS) || errors.Is(err, ErrMalformed)) && hasAlert(b):
			// crypto/tls ignores warnings before and within the ClientHello.
		default:
			t.Errorf("Parse: %+v, %v; crypto/tls: %+v", got, err, want)
		}
	})
}

// hasAlert reports whether one of the records of b is an alert.
func hasAlert(b []byte) bool {
	for len(b) >= recordHeader {
		if b[0] == 21 {
			return true
		}
		b = b[min(len(b), recordHeader+int(b[3])<<8+int(b[4])):]
	}
	return false
}

// chunks is a recorded connection whose reads return at most size bytes.
type chunks struct {
	recorded
	size int
}

func (c *chunks) Read(p []byte) (int, error) { return c.recorded.Read(p[:min(len(p), c.size)]) }

func TestReadAheadLeavesTheStreamWhole(t *testing.T) {
	stream := append(inRecords(hello(names("\x00www.example.com")), 10), "what comes behind it"...)
	for _, size := range []int{1, 7, len(stream)} {
		c := &chunks{size: size}
		c.Reset(stream)
		h, whole, err := Read(c)
		if err != nil || h.ServerName != "www.example.com" {
			t.Fatalf("in chunks of %d: %+v, %v", size, h, err)
		}
		if got, err := io.ReadAll(whole); err != nil || !bytes.Equal(got, stream) {
			t.Errorf("in chunks of %d: %q, %v, want %q", size, got, err, stream)
		}
	}
}

func TestReadAheadErrors(t *testing.T) {
	for stream, want := range map[string]error{
		"":                                   ErrProbe,
		"\x16\x03\x01\x00\x05":               io.ErrUnexpectedEOF,
		"GET / HTTP/1.1\r\n":                 ErrNotTLS,
		string(inRecords(sized(MaxSize), 1)): ErrTooLarge,
	} {
		c := new(recorded)
		c.Reset([]byte(stream))
		if _, _, err := Read(c); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", stream, err, want)
		}
	}
}

func TestErrorsAreShort(t *testing.T) {
	_, err := Parse(inRecords(hello(names("\x00"+strings.Repeat("x", 10_000), "\x00b")), MaxSize))
	if err == nil || len(err.Error()) > 100 {
		t.Errorf("%v", err)
	}
}
