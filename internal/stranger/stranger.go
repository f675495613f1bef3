// Package stranger names what a peer speaks that speaks something else than was expected, from the
// first bytes that it sent. Errors with that in them tell a wrong port from a broken peer.
package stranger

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// protocols are recognized by how a peer's first bytes begin.
var protocols = []struct{ begins, hint string }{
	{"HTTP/", "an HTTP server is there"},
	{"SSH-", "an SSH server is there"},
	{"220 ", "a mail or FTP server is there"},
	{"220-", "a mail or FTP server is there"},
	{"GET ", "it is an HTTP client"},
	{"POST ", "it is an HTTP client"},
	{"PUT ", "it is an HTTP client"},
	{"HEAD ", "it is an HTTP client"},
	{"PRI *", "it is an HTTP/2 client"},
	{"CONNE", "it is an HTTP client"},
	{"OPTIO", "it is an HTTP client"},
	{"PROXY", "it is a proxy that sends PROXY protocol headers: see -proxy-protocol-from"},
	{"\r\n\r\n\x00", "it is a proxy that sends PROXY protocol headers: see -proxy-protocol-from"},
	{"\x15\x03", "a TLS alert: it speaks TLS, so write tls://"},
	{"\x16\x03", "a TLS handshake: it speaks TLS, so write tls://"},
}

// Hint returns what said is a sign of, or nothing for bytes that are a sign of nothing.
func Hint(said []byte) string {
	for _, p := range protocols {
		if bytes.HasPrefix(said, []byte(p.begins)) {
			return p.hint
		}
	}
	return ""
}

// maxQuoted is how much of what a peer said stands in an error, in bytes.
const maxQuoted = 80

// Quote returns the first line of what a peer said, and what it is a sign of.
func Quote(said []byte) string {
	line := said
	if i := bytes.IndexByte(said, '\n'); i >= 0 && Hint(said) != "" {
		line = bytes.TrimRight(said[:i], "\r\n")
	}
	if len(line) == 0 {
		line = said
	}
	text := fmt.Sprintf("%q", line[:min(len(line), maxQuoted)])
	if hint := Hint(said); hint != "" {
		text += ": " + hint
	}
	return text
}

// Explain adds to the error of a TLS handshake what the peer said, if it does not speak TLS. Other
// errors stay as they are.
func Explain(err error) error {
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || !strings.Contains(header.Msg, "does not look like") {
		return err
	}
	return fmt.Errorf("%w; the peer said %s", err, Quote(header.RecordHeader[:]))
}
