package stranger

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for said, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n": `"HTTP/1.1 400 Bad Request": an HTTP server is there`,
		"HTTP/":                        `"HTTP/": an HTTP server is there`,
		"SSH-2.0-OpenSSH_9.2\r\n":      `"SSH-2.0-OpenSSH_9.2": an SSH server is there`,
		"220 mail.example.com\r\n":     `"220 mail.example.com": a mail or FTP server is there`,
		"\x15\x03\x01\x00\x02\x02\x46": `"\x15\x03\x01\x00\x02\x02F": a TLS alert: it speaks TLS, so write tls://`,
		"ok 1\nok 2\n":                 `"ok 1\nok 2\n"`,
		strings.Repeat("x", 1000):      `"` + strings.Repeat("x", maxQuoted) + `"`,
	} {
		if got := Quote([]byte(said)); got != want {
			t.Errorf("%.40q: %s, want %s", said, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	header := tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake", RecordHeader: [5]byte([]byte("SSH-2"))}
	err := Explain(fmt.Errorf("wrapped: %w", header))
	if !errors.As(err, &header) || !strings.HasSuffix(err.Error(), `; the peer said "SSH-2": an SSH server is there`) {
		t.Error(err)
	}
	for _, other := range []error{nil, io.EOF, tls.RecordHeaderError{Msg: "unsupported SSLv2 handshake received"}} {
		if Explain(other) != other {
			t.Errorf("%v became %v", other, Explain(other))
		}
	}
}
