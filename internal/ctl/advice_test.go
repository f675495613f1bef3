package ctl

import (
	"net"
	"strings"
	"testing"

	"linesplit/admin"
	"linesplit/internal/testcert"
	"linesplit/tlsconf"
)

// serveTLS serves the API over TLS, and returns its address with the given host.
func serveTLS(t *testing.T, certs testcert.Files, host string) string {
	t.Helper()
	ln, err := admin.Listen(t.Context(), "tls://127.0.0.1:0", tlsconf.ServerFiles{Cert: certs.ServerCert, Key: certs.ServerKey})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	address := net.JoinHostPort(host, port)
	serveAt(t, &fake{}, ln, address)
	return address
}

// The errors said what crypto/tls and net/http had found, and not which flag to change.
func TestErrorsOfTLSSayWhatToChange(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	secure := serveTLS(t, certs, "127.0.0.1")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plain := ln.Addr().String()
	serveAt(t, &fake{}, ln, plain)
	for _, test := range []struct {
		address string
		files   tlsconf.ClientFiles
		want    string
	}{
		{secure, tlsconf.ClientFiles{}, "speaks TLS: write tls:// before the address in -admin"},
		{"tls://" + plain, tlsconf.ClientFiles{}, "does not speak TLS: leave tls:// out of -admin"},
		{"tls://" + secure, tlsconf.ClientFiles{}, "give its authority in -tls-ca"},
		{"tls://" + secure, tlsconf.ClientFiles{CA: certs.CA, ServerName: "other.example"}, "give localhost in -tls-server-name"},
		{"tls://" + secure, tlsconf.ClientFiles{CA: certs.CA}, ""},
	} {
		files, err := tlsconf.NewClient(test.files)
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewClient(Options{Address: test.address, TLS: files.Config()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = run(t, c, false, "targets")
		for what, err := range map[string]error{"targets": err, "healthcheck": c.Alive(t.Context())} {
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%s of %s: %v, want %q", what, test.address, err, test.want)
			}
		}
	}
}
