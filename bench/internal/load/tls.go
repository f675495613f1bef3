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

// The TLS 1.3 suite that every connection uses, so that figures are comparable.
const (
	suite     = tls.TLS_AES_128_GCM_SHA256
	SuiteName = "TLS_AES_128_GCM_SHA256" // as OpenSSL calls it
)

// Certificates are the files of one set of certificates, for both ends and all proxies.
type Certificates struct {
	testcert.Files
	Pair string // the server's certificate and key in one file, which is what HAProxy reads
}

// MakeCertificates writes a new set to a folder, which must exist.
func MakeCertificates(dir string) (c Certificates, err error) {
	if c.Files, err = testcert.Write(dir); err != nil {
		return c, err
	}
	cert, err1 := os.ReadFile(c.ServerCert)
	key, err2 := os.ReadFile(c.ServerKey)
	c.Pair = filepath.Join(dir, "pair.pem")
	return c, errors.Join(err1, err2, os.WriteFile(c.Pair, append(cert, key...), 0o600))
}

// certificatesIn returns the paths of a set that MakeCertificates has written to a folder.
func certificatesIn(dir string) testcert.Files {
	path := func(name string) string { return filepath.Join(dir, name) }
	return testcert.Files{CA: path("ca.pem"), ServerCert: path("server.pem"), ServerKey: path("server.key"),
		ClientCert: path("client.pem"), ClientKey: path("client.key")}
}

// dialSender connects a sender, through TLS unless config is nil.
func dialSender(to string, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return net.Dial("tcp", to)
	}
	c, err := tls.Dial("tcp", to, config)
	if err != nil {
		return nil, err
	}
	if err := checkSuite(c.ConnectionState()); err != nil {
		c.Close()
		return nil, err
	}
	go func() {
		defer c.Close()
		io.Copy(io.Discard, c)
	}()
	return halfCloser{c}, nil
}

// halfCloser is a connection whose Close ends only its own direction; dialSender's goroutine closes
// it when the peer has ended too. A full close while session tickets, which OpenSSL sends, are
// unread or under way would reset the connection and lose lines.
type halfCloser struct{ *tls.Conn }

func (c halfCloser) Close() error { return c.CloseWrite() }

// checkSuite returns an error unless a connection uses TLS 1.3 and the suite.
func checkSuite(s tls.ConnectionState) error {
	if s.Version != tls.VersionTLS13 || s.CipherSuite != suite {
		return fmt.Errorf("%s with %s instead of TLS 1.3 with %s",
			tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), SuiteName)
	}
	return nil
}
