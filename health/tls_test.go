package health

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"linesplit/internal/testcert"
	"linesplit/target"
)

// overTLS returns a server that shakes hands and then calls serve.
func overTLS(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		secure := tls.Server(conn, config)
		if secure.Handshake() == nil {
			serve(secure)
		}
	}
}

func TestTLSChecks(t *testing.T) {
	t.Parallel()
	files := testcert.New(t, t.TempDir())
	over := func(serve func(net.Conn)) func(net.Conn) { return overTLS(files.ServerTLS(), serve) }
	demanding := func(version uint16) func(net.Conn) {
		config := files.ServerTLS()
		config.MinVersion, config.MaxVersion = version, version
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, files.Pool()
		return overTLS(config, hanging)
	}
	noCertificate := func() *tls.Config { return &tls.Config{RootCAs: files.Pool(), ServerName: "localhost"} }
	stranger := func() *tls.Config { return new(tls.Config) }
	tests := []struct {
		name   string
		s      Settings
		scheme string
		config func() *tls.Config
		serve  func(net.Conn)
		err    string
	}{
		{"target", Settings{Kind: "tls"}, target.SchemeTLS, files.ClientTLS, over(hanging), ""},
		// A refusal of our certificate comes after our side of the 1.3 handshake: it passed the
		// check.
		{"refuses us, 1.2", Settings{Kind: "tls"}, target.SchemeTLS, noCertificate, demanding(tls.VersionTLS12), "remote error: tls"},
		{"refuses us, 1.3", Settings{Kind: "tls"}, target.SchemeTLS, noCertificate, demanding(tls.VersionTLS13), "remote error: tls"},
		{"accepts us, 1.2", Settings{Kind: "tls"}, target.SchemeTLS, files.ClientTLS, demanding(tls.VersionTLS12), ""},
		{"accepts us, 1.3", Settings{Kind: "tls"}, target.SchemeTLS, files.ClientTLS, demanding(tls.VersionTLS13), ""},
		// Its clients have certificates; linesplit has none of theirs.
		{"demands its clients' certificates, 1.2", Settings{Kind: "tls"}, target.SchemeTCP, nil, demanding(tls.VersionTLS12), ""},
		{"demands its clients' certificates, 1.3", Settings{Kind: "tls"}, target.SchemeTCP, nil, demanding(tls.VersionTLS13), ""},
		{"untrusted target", Settings{Kind: "tls"}, target.SchemeTLS, stranger, over(hanging), "certificate"},
		{"passing through", Settings{Kind: "tls"}, target.SchemeTCP, nil, over(hanging), ""},
		{"passing through, another's trust", Settings{Kind: "tls"}, target.SchemeTCP, stranger, over(hanging), ""},
		{"passing through a Unix socket", Settings{Kind: "tls"}, target.SchemeUnix, nil, over(hanging), ""},
		{"no TLS", Settings{Kind: "tls"}, target.SchemeTCP, nil, func(c net.Conn) { io.WriteString(c, "220 hello\r\n") }, "TLS handshake"},
		{"hangs", Settings{Kind: "tls"}, target.SchemeTLS, files.ClientTLS, hanging, "TLS handshake"},
		{"hangs behind us", Settings{Kind: "tls"}, target.SchemeTCP, nil, hanging, "TLS handshake"},
		{"tcp alone", Settings{Kind: "tcp"}, target.SchemeTLS, files.ClientTLS, hanging, ""},
		{"http over TLS", Settings{Kind: "http"}, target.SchemeTLS, files.ClientTLS, over(answering("\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")), ""},
		{"redis over TLS", Settings{Kind: "redis"}, target.SchemeTLS, files.ClientTLS, over(answering("PING\r\n", "+PONG\r\n")), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := server(t, test.scheme, test.serve)
			d := limit
			if !strings.HasPrefix(test.name, "hangs") {
				d = wait
			}
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			err := mustCheck(t, test.s).run(ctx, a, target.Options{TLS: test.config})
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("%v; want %q", err, test.err)
			}
		})
	}
}
