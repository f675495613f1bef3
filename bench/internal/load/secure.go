//go:build linux

package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"linesplit/internal/testcert"
)

// All speak TLS 1.3 with the same suite, or figures could not be held against each other.
const (
	suite     = tls.TLS_AES_128_GCM_SHA256
	SuiteName = "TLS_AES_128_GCM_SHA256"
)

// Certificates are what both ends and all proxies show and trust.
type Certificates struct {
	testcert.Files
	Pair string // the server's certificate and key in one file, as HAProxy wants them
}

// MakeCertificates writes a fresh set to a folder.
func MakeCertificates(dir string) (c Certificates, err error) {
	if c.Files, err = testcert.Write(dir); err != nil {
		return c, err
	}
	cert, err1 := os.ReadFile(c.ServerCert)
	key, err2 := os.ReadFile(c.ServerKey)
	c.Pair = filepath.Join(dir, "pair.pem")
	return c, errors.Join(err1, err2, os.WriteFile(c.Pair, append(cert, key...), 0o600))
}

// certsIn names the files of a set that somebody else has written.
func certsIn(dir string) testcert.Files {
	path := func(name string) string { return filepath.Join(dir, name) }
	return testcert.Files{CA: path("ca.pem"), ServerCert: path("server.pem"), ServerKey: path("server.key"),
		ClientCert: path("client.pem"), ClientKey: path("client.key")}
}

// dialSender connects a sender, through TLS if there is a config.
func dialSender(to string, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return net.Dial("tcp", to)
	}
	c, err := tls.Dial("tcp", to, config)
	if err != nil {
		return nil, err
	}
	if err := agreed(c.ConnectionState()); err != nil {
		c.Close()
		return nil, err
	}
	go func() {
		defer c.Close()
		io.Copy(io.Discard, c)
	}()
	return halfCloser{c}, nil
}

// halfCloser is a connection whose Close ends its own direction alone; the rest follows when the peer has ended too. Closed for good while the peer's
// session tickets are unread or on their way, as OpenSSL sends them, it would be reset, and lines lost.
type halfCloser struct{ *tls.Conn }

func (c halfCloser) Close() error { return c.CloseWrite() }

// agreed says whether a connection speaks what all should.
func agreed(s tls.ConnectionState) error {
	if s.Version != tls.VersionTLS13 || s.CipherSuite != suite {
		return fmt.Errorf("%s with %s instead of TLS 1.3 with %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), SuiteName)
	}
	return nil
}
