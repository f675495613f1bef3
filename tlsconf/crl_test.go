package tlsconf

import (
	"encoding/pem"
	"os"
	"strings"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// crl writes a revocation list that names certificates.
func crl(t *testing.T, a *testcert.Authority, until time.Time, certs ...[]byte) string {
	t.Helper()
	list, err := a.Revoke(until, certs...)
	must(t, err)
	return write(t, "crl.pem", list)
}

// A list in the file of authorities, where other programs take it, had no effect and was not even
// mentioned: revoked clients were served.
func TestRevokedClientsAreRefused(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	list := crl(t, f.Authority, time.Time{})
	log := new(logBuffer)
	server := mustServer(t, ServerFiles{
		Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA, ClientCRL: list, Logger: log.logger(),
	})
	client := mustClient(t, ClientFiles{CA: f.CA, Cert: f.ClientCert, Key: f.ClientKey})
	near, far, err := handshake(t, server.Config(), client.Config())
	must(t, err)
	revoked, err := f.Authority.Revoke(time.Time{}, read(t, f.ClientCert))
	must(t, err)
	must(t, testcert.Replace(list, revoked))
	server.files.expire()
	if _, _, err := handshake(t, server.Config(), client.Config()); err == nil || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("a revoked client: %v", err)
	}
	exchange(t, near, far) // what is connected stays

	cert, key, err := f.Authority.Issue(testcert.Options{Name: "another"})
	must(t, err)
	other := mustClient(t, ClientFiles{CA: f.CA, Cert: write(t, "cert", cert), Key: write(t, "key", key)})
	if _, _, err := handshake(t, server.Config(), other.Config()); err != nil {
		t.Errorf("another client: %v", err)
	}
	must(t, os.WriteFile(list, []byte("nonsense"), 0o600))
	server.files.expire()
	if _, _, err := handshake(t, server.Config(), client.Config()); err == nil {
		t.Error("a broken file has taken the list's place")
	}
	if log.count("reloaded") != 1 || log.count("cannot be used") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

// Without a list of its issuer, nothing is known of a client.
func TestClientOfUnlistedIssuerIsRefused(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	second, err := testcert.NewAuthority("second")
	must(t, err)
	both := write(t, "both.pem", append(read(t, f.CA), second.CertPEM()...))
	server := mustServer(t, ServerFiles{
		Cert: f.ServerCert, Key: f.ServerKey, ClientCA: both, ClientCRL: crl(t, second, time.Time{}),
	})
	client := mustClient(t, ClientFiles{CA: f.CA, Cert: f.ClientCert, Key: f.ClientKey})
	if _, _, err := handshake(t, server.Config(), client.Config()); err == nil || !strings.Contains(err.Error(), "no revocation list") {
		t.Errorf("%v", err)
	}
}

// An old list still revokes what it names, and the log says that it is old.
func TestExpiredListIsUsedAndReported(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	list := crl(t, f.Authority, time.Now().Add(-time.Hour), read(t, f.ClientCert))
	log := new(logBuffer)
	server := mustServer(t, ServerFiles{
		Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA, ClientCRL: list, Logger: log.logger(),
	})
	if log.count("tls revocation list has expired") != 1 {
		t.Errorf("the log:\n%s", log)
	}
	client := mustClient(t, ClientFiles{CA: f.CA, Cert: f.ClientCert, Key: f.ClientKey})
	if _, _, err := handshake(t, server.Config(), client.Config()); err == nil {
		t.Error("a revoked client was served")
	}
}

func TestBadRevocationLists(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	list, err := f.Authority.Revoke(time.Time{})
	must(t, err)
	namesake, err := testcert.NewAuthority("linesplit test CA")
	must(t, err)
	server := func(ca, crl string) error {
		_, err := NewServer(ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: ca, ClientCRL: crl})
		return err
	}
	withList := write(t, "ca.pem", append(read(t, f.CA), list...))
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"a list among authorities": {server(withList, ""), "which has no effect here: give it as the clients' revocation list"},
		"a list among targets' authorities": {func() error { _, err := NewClient(ClientFiles{CA: withList}); return err }(),
			"take it out"},
		"a certificate": {server(f.CA, f.CA), "holds a certificate, not a revocation list"},
		"nothing":       {server(f.CA, write(t, "empty", nil)), "the file is empty"},
		"nonsense": {server(f.CA, write(t, "nonsense", pem.EncodeToMemory(&pem.Block{Type: pemCRL, Bytes: []byte("x")}))),
			"list 1 of the file"},
		"signed by another of that name": {server(write(t, "namesake", namesake.CertPEM()), write(t, "crl", list)), "not signed by"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%s: %v", name, test.err)
		}
	}
}
