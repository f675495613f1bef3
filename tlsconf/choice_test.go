package tlsconf

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// pairFor issues a certificate for hosts, named after the first of them.
func pairFor(t *testing.T, a *testcert.Authority, dir string, hosts ...string) Pair {
	t.Helper()
	base := filepath.Join(dir, strings.ReplaceAll(hosts[0], "*", "any"))
	p := Pair{Cert: base + ".pem", Key: base + ".key"}
	must(t, a.WritePair(p.Cert, p.Key, testcert.Options{Name: hosts[0], Hosts: hosts}))
	return p
}

// shown returns the common name of the certificate that a client gets.
func shown(t *testing.T, server *tls.Config, client *tls.Config) string {
	t.Helper()
	client.InsecureSkipVerify = true
	near, _, err := handshake(t, server, client)
	must(t, err)
	return near.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestCertificateIsChosenByName(t *testing.T) {
	dir := t.TempDir()
	f := testcert.New(t, dir)
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, More: []Pair{
		pairFor(t, f.Authority, dir, "*.example.com", "example.com"),
		pairFor(t, f.Authority, dir, "www.example.com"),
		pairFor(t, f.Authority, dir, "xn--bcher-kva.example"),
	}}).Config()
	for name, want := range map[string]string{
		"example.com":           "*.example.com",
		"WWW.example.com":       "www.example.com", // exact before wildcard, in whatever order
		"mail.example.com":      "*.example.com",
		"a.mail.example.com":    "server",
		"xn--bcher-kva.example": "xn--bcher-kva.example",
		"localhost":             "server",
		"unknown.example":       "server", // none fits: the first
		"127.0.0.1":             "server", // asks for no name
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if got := shown(t, server, &tls.Config{ServerName: name, MinVersion: version, MaxVersion: version}); got != want {
				t.Errorf("%s with %s: the certificate of %q, want %q", name, tls.VersionName(version), got, want)
			}
		}
	}
}

// rsaPair makes a certificate with an RSA key that signs itself.
func rsaPair(t *testing.T, dir, host string) Pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "RSA " + host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	p := Pair{Cert: filepath.Join(dir, "rsa.pem"), Key: filepath.Join(dir, "rsa.key")}
	must(t, os.WriteFile(p.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(p.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return p
}

// Old clients know no ECDSA: they need a certificate of their own for the same name.
func TestCertificateFitsTheKeysThatTheClientKnows(t *testing.T) {
	dir := t.TempDir()
	f := testcert.New(t, dir)
	ec := pairFor(t, f.Authority, dir, "www.example.com")
	server := mustServer(t, ServerFiles{Cert: ec.Cert, Key: ec.Key, More: []Pair{rsaPair(t, dir, "www.example.com")}}).Config()
	for suite, want := range map[uint16]string{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "www.example.com",
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   "RSA www.example.com",
	} {
		for _, name := range []string{"www.example.com", "unknown.example", "127.0.0.1"} {
			client := &tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}
			if got := shown(t, server, client); got != want {
				t.Errorf("%s with %s: the certificate of %q, want %q", name, tls.CipherSuiteName(suite), got, want)
			}
		}
	}
}

// A pair whose certificate has been replaced before its key kept every other from being renewed.
func TestPairsAreReloadedEachOnItsOwn(t *testing.T) {
	dir := t.TempDir()
	f := testcert.New(t, dir)
	one, two := pairFor(t, f.Authority, dir, "one.example"), pairFor(t, f.Authority, dir, "two.example")
	log := new(logBuffer)
	server := mustServer(t, ServerFiles{
		Cert: one.Cert, Key: one.Key, More: []Pair{two}, ClientCA: f.CA, Logger: log.logger(),
	})
	get := func(name string) string {
		client := f.ClientTLS()
		client.ServerName = name
		return shown(t, server.Config(), client)
	}
	renew := func(p Pair, name, host string) []byte {
		cert, key, err := f.Authority.Issue(testcert.Options{Name: name, Hosts: []string{host}})
		must(t, err)
		must(t, testcert.Replace(p.Cert, cert))
		return key
	}

	key := renew(one, "new one", "one.example") // its key comes later
	must(t, testcert.Replace(two.Key, renew(two, "new two", "two.example")))
	for range 3 {
		server.files.expire()
		if got := []string{get("one.example"), get("two.example")}; !slices.Equal(got, []string{"one.example", "new two"}) {
			t.Fatalf("a pair half replaced, another whole: the certificates of %q\n%s", got, log)
		}
	}
	if log.count("cannot be used") != 1 || log.count("msg=\"tls files reloaded\" side=server files=\"["+two.Cert) != 1 {
		t.Errorf("log:\n%s", log)
	}

	must(t, testcert.Replace(one.Key, key))
	server.files.expire()
	if got := []string{get("one.example"), get("two.example")}; !slices.Equal(got, []string{"new one", "new two"}) {
		t.Errorf("after both: the certificates of %q\n%s", got, log)
	}
}

// While a pair is broken its files are read again every second, and each time the log warned once
// more that another certificate expires soon.
func TestBrokenPairRepeatsNoWarning(t *testing.T) {
	dir := t.TempDir()
	f := testcert.New(t, dir)
	old := pairFor(t, f.Authority, dir, "old.example")
	must(t, f.Authority.WritePair(old.Cert, old.Key, testcert.Options{NotAfter: time.Now().Add(time.Hour)}))
	log := new(logBuffer)
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, More: []Pair{old}, Logger: log.logger()})
	must(t, os.WriteFile(f.ServerKey, nil, 0o600))
	for range 3 {
		server.files.expire()
		server.files.config()
	}
	if log.count("expires soon") != 1 || log.count("cannot be used") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

func TestFaultsNameThePair(t *testing.T) {
	dir := t.TempDir()
	f := testcert.New(t, dir)
	good := pairFor(t, f.Authority, dir, "a.example")
	_, err := NewServer(ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, More: []Pair{good, {good.Cert, f.MismatchedKey}, {"/nowhere", good.Key}}})
	files, others := FileErrors(err)
	if len(files) != 2 || len(others) != 0 || files[0].Name != f.MismatchedKey || files[0].File != KeyFile ||
		files[1].Name != "/nowhere" || files[1].File != CertFile {
		t.Errorf("%v", err)
	}
}
