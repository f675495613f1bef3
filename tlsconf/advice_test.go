package tlsconf

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// The errors of crypto/tls say what is wrong with a certificate, and not what to change.
func TestHandshakesThatFailAreAdvised(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	plain := ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}
	mutual := ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA}
	for _, tt := range []struct {
		name             string
		server           ServerFiles
		client           ClientFiles
		wantClient, want string // of the client, and of the listener
		wantFault        string
	}{
		{"untrusted", plain, ClientFiles{CA: f.OtherCA}, "give its authority in -x-ca", "the certificate of -tls-cert",
			"our certificate refused"},
		{"name", plain, ClientFiles{CA: f.CA, ServerName: "other.example"}, "give localhost in -x-server-name",
			"the certificate of -tls-cert", "our certificate refused"},
		{"no certificate", mutual, ClientFiles{CA: f.CA}, "give a certificate in -x-cert and -x-key",
			"demands a certificate of every client", "no certificate"},
		{"another authority's", mutual, ClientFiles{CA: f.CA, Cert: f.StrangerCert, Key: f.StrangerKey},
			"does not accept the certificate that -x-cert names", "of no authority in -tls-client-ca", "untrusted certificate"},
		{"expired", mutual, ClientFiles{CA: f.CA, Cert: f.ExpiredCert, Key: f.ExpiredKey},
			"does not accept the certificate that -x-cert names", "", "invalid certificate"},
	} {
		near, _, clientErr, serverErr := handshakeOfBoth(t, mustServer(t, tt.server).Config(), mustClient(t, tt.client).Config())
		if clientErr == nil { // in TLS 1.3 the refusal comes after our side of the handshake
			_, clientErr = near.Read(make([]byte, 1))
		}
		if advised := Advise(clientErr, "-x"); !strings.Contains(advised.Error(), tt.wantClient) || !errors.Is(advised, clientErr) {
			t.Errorf("%s: the client: %v, want %q", tt.name, advised, tt.wantClient)
		}
		if advice := ListenerAdvice(serverErr); !strings.Contains(advice, tt.want) {
			t.Errorf("%s: the listener: %v: %q, want %q", tt.name, serverErr, advice, tt.want)
		}
		if fault := HandshakeFault(serverErr); fault != tt.wantFault {
			t.Errorf("%s: the listener: %v: fault %q, want %q", tt.name, serverErr, fault, tt.wantFault)
		}
	}
}

// A peer that speaks plain text does not answer, ends the connection, or says something else.
func TestHandshakesWithPlainTextAreAdvised(t *testing.T) {
	const plain = "if it speaks plain text, write tcp:// in place of tls://"
	refused := func(said string) error {
		near := tls.Client(readOnly{strings.NewReader(said)}, &tls.Config{ServerName: "x"})
		return near.Handshake()
	}
	for _, tt := range []struct {
		err        error
		want, wont string
	}{
		{context.DeadlineExceeded, "no answer: context deadline exceeded: " + plain, ""},
		{io.EOF, "the peer has ended the connection: EOF: " + plain, ""},
		{refused("ok 1\n"), `the peer said "ok 1\n": ` + plain, ""},
		{refused("HTTP/1.1 400 Bad Request\r\n"), `the peer said "HTTP/": an HTTP server is there`, plain},
		{context.Canceled, "context canceled", plain},
	} {
		got := AdviseHandshake(tt.err, "-x")
		if !strings.HasSuffix(got.Error(), tt.want) || tt.wont != "" && strings.Contains(got.Error(), tt.wont) || !errors.Is(got, tt.err) {
			t.Errorf("%v, want %q", got, tt.want)
		}
	}
}

// readOnly is a connection of which only the reading side is used.
type readOnly struct{ io.Reader }

func (readOnly) Write(p []byte) (int, error)      { return len(p), nil }
func (readOnly) Close() error                     { return nil }
func (readOnly) LocalAddr() net.Addr              { return nil }
func (readOnly) RemoteAddr() net.Addr             { return nil }
func (readOnly) SetDeadline(time.Time) error      { return nil }
func (readOnly) SetReadDeadline(time.Time) error  { return nil }
func (readOnly) SetWriteDeadline(time.Time) error { return nil }

func TestFaultsOfHandshakes(t *testing.T) {
	for want, err := range map[string]error{
		"no TLS":                tls.RecordHeaderError{},
		"revocation":            revocationError{errors.New("revoked")},
		"refused by the client": &net.OpError{Op: "remote error", Err: tls.AlertError(40)},
		"displaced":             displacedError(io.EOF),
		"too much":              errTooMuch,
		"timeout":               os.ErrDeadlineExceeded,
		"ended":                 io.ErrUnexpectedEOF,
		"version":               errors.New("tls: client offered only unsupported versions: [301]"),
		"other":                 errors.New("tls: no cipher suite supported by both client and server"),
	} {
		if got := HandshakeFault(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
