package target

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"linesplit/internal/testcert"
)

// strangers are peers that speak something else than lines: what they say, and what an error says
// of it. A receiver that answers lines is none.
var strangers = []struct{ says, hint string }{
	{"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "an HTTP server is there"},
	{"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server is there"},
	{"220 mail.example.com ESMTP\r\n", "a mail or FTP server is there"},
	{"\x15\x03\x01\x00\x02\x02\x46", "it speaks TLS, so write tls://"},
	{"ok 1\n", ""},
}

// A wrong port, such as that of an HTTP server, looked like a receiver that ends in good order.
func TestErrorsQuoteStrangers(t *testing.T) {
	for _, test := range strangers {
		t.Run(test.hint, func(t *testing.T) {
			a := sayOnce(t, test.says)
			c, err := DialTracked(t.Context(), a, new(Options))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Abort()
			for !c.Progress().FIN && c.Progress().Err == nil {
				<-c.Events()
			}
			err = c.Progress().Err
			if test.hint == "" && err != nil || test.hint != "" && (err == nil || !strings.Contains(err.Error(), test.hint)) {
				t.Errorf("the connection ended with %v, want %q", err, test.hint)
			}
		})
	}
}

// The same where linesplit speaks TLS and the peer does not: the error said only that this is no
// TLS.
func TestHandshakeErrorsQuoteStrangers(t *testing.T) {
	o := &Options{TLS: func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }}
	for _, test := range strangers[:3] {
		for name, dial := range map[string]func(Address) error{
			"Dial":        func(a Address) error { _, err := Dial(t.Context(), a, o, nil); return err },
			"DialTracked": func(a Address) error { _, err := DialTracked(t.Context(), a, o); return err },
		} {
			a := sayOnce(t, test.says)
			a.Scheme = SchemeTLS
			if err := dial(a); err == nil || !strings.Contains(err.Error(), test.says[:3]) || !strings.Contains(err.Error(), test.hint) {
				t.Errorf("%s: %v, want %q", name, err, test.hint)
			}
		}
	}
}

// sayOnce returns the address of a server that says something to one connection and ends it.
func sayOnce(t *testing.T, text string) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	}()
	return Address{Scheme: SchemeTCP, Host: ln.Addr().String()}
}

// An untrusted certificate was reported without the flag that mends it.
func TestHandshakeErrorsNameTheFlag(t *testing.T) {
	files := testcert.New(t, t.TempDir())
	for want, config := range map[string]*tls.Config{
		"give its authority in -tls-target-ca":                     {},
		"give localhost in -tls-target-server-name":                {RootCAs: files.Pool(), ServerName: "other.example"},
		"if it speaks plain text, write tcp:// in place of tls://": nil,
	} {
		server := files.ServerTLS()
		if config == nil { // the peer ends the connection
			server, config = nil, new(tls.Config)
		}
		o := &Options{TLS: func() *tls.Config { return config }}
		for name, dial := range map[string]func(Address) error{
			"Dial":        func(a Address) error { _, err := Dial(t.Context(), a, o, nil); return err },
			"DialTracked": func(a Address) error { _, err := DialTracked(t.Context(), a, o); return err },
		} {
			if err := dial(shakeOnce(t, server)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

// shakeOnce returns the address of a server that does one handshake, or, without a configuration,
// reads a little and ends the connection.
func shakeOnce(t *testing.T, config *tls.Config) Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if config == nil {
			conn.Read(make([]byte, 16<<10))
			return
		}
		tls.Server(conn, config).Handshake()
	}()
	return Address{Scheme: SchemeTLS, Host: ln.Addr().String()}
}
