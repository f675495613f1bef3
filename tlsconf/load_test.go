package tlsconf

import (
	"crypto/tls"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"linesplit/internal/testcert"
)

func TestParseVersion(t *testing.T) {
	tests := []struct {
		in   string
		want uint16
	}{
		{"1.2", tls.VersionTLS12},
		{"1.3", tls.VersionTLS13},
		{"1.1", 0}, {"1.0", 0}, {"", 0}, {"tls1.2", 0}, {"1.4", 0},
	}
	for _, tt := range tests {
		got, err := ParseVersion(tt.in)
		if got != tt.want || (err != nil) != (tt.want == 0) {
			t.Errorf("ParseVersion(%q) = %#x, %v, want %#x", tt.in, got, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "use 1.2 or 1.3") {
			t.Errorf("ParseVersion(%q): %v: does not say what is valid", tt.in, err)
		}
	}
}

// faultyFiles are files that cannot be used as a certificate or a key, each for a different reason.
type faultyFiles struct{ missing, text, empty, binary, cut, broken, encrypted, oldEncrypted, request, backwards string }

func newFaultyFiles(t *testing.T, f testcert.Files) faultyFiles {
	block := func(kind string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("nonsense")})
	}
	return faultyFiles{
		missing:   filepath.Join(t.TempDir(), "none.pem"),
		text:      write(t, "text.pem", []byte("hello\n")),
		empty:     write(t, "empty.pem", nil),
		binary:    write(t, "cert.der", der(t, f.CA)),
		cut:       write(t, "cut.pem", read(t, f.ServerCert)[:80]),
		broken:    write(t, "broken.pem", block("CERTIFICATE")),
		encrypted: write(t, "encrypted.key", block("ENCRYPTED PRIVATE KEY")),
		oldEncrypted: write(t, "old.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("x"),
			Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}})),
		request:   write(t, "request.pem", block("CERTIFICATE REQUEST")),
		backwards: write(t, "backwards.pem", append(read(t, f.CA), read(t, f.ServerCert)...)),
	}
}

// An error names the role and the file of each fault and says what is wrong; several faults are all
// named.
func TestErrorsNameFileAndFault(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	bad := newFaultyFiles(t, f)
	server := func(cert, key, ca string) error {
		_, err := NewServer(ServerFiles{Cert: cert, Key: key, ClientCA: ca})
		return err
	}
	client := func(ca, cert, key string) error {
		_, err := NewClient(ClientFiles{CA: ca, Cert: cert, Key: key})
		return err
	}
	tests := []struct {
		name string
		err  error
		want []string
	}{
		{"nothing", server("", "", ""), []string{"tls server certificate: none given"}},
		{"no key", server(f.ServerCert, "", ""), []string{"tls server key: none given", f.ServerCert}},
		{"no certificate", server("", f.ServerKey, ""), []string{"tls server certificate: none given", f.ServerKey}},
		{"client without key", client("", f.ClientCert, ""), []string{"tls target key: none given"}},
		{"client without certificate", client("", "", f.ClientKey), []string{"tls target certificate: none given"}},
		{"missing", server(bad.missing, f.ServerKey, ""), []string{"tls server certificate " + bad.missing, "no such file"}},
		{"directory", server(t.TempDir(), f.ServerKey, ""), []string{"is a directory"}},
		{"text", server(bad.text, f.ServerKey, ""), []string{bad.text, "not PEM"}},
		{"empty", server(bad.empty, f.ServerKey, ""), []string{bad.empty, "the file is empty"}},
		{"der", server(bad.binary, f.ServerKey, ""), []string{bad.binary, "looks like DER"}},
		{"cut off", server(bad.cut, f.ServerKey, ""), []string{bad.cut, "no block is complete"}},
		{"broken", server(bad.broken, f.ServerKey, ""), []string{bad.broken, "certificate 1 of the file"}},
		{"exchanged", server(f.ServerKey, f.ServerCert, ""), []string{
			"tls server certificate " + f.ServerKey + ": holds a private key, not a certificate",
			"tls server key " + f.ServerCert + ": holds a certificate, not a private key"}},
		{"request", server(bad.request, f.ServerKey, ""), []string{"holds a certificate request, not a certificate"}},
		{"mismatch", server(f.ServerCert, f.MismatchedKey, ""), []string{
			"tls server key " + f.MismatchedKey, f.ServerCert, "does not match"}},
		{"chain backwards", server(bad.backwards, f.ServerKey, ""), []string{
			bad.backwards, "certificate 2 of the file: put that one first"}},
		{"encrypted", server(f.ServerCert, bad.encrypted, ""), []string{bad.encrypted, "encrypted", "openssl"}},
		{"encrypted the old way", server(f.ServerCert, bad.oldEncrypted, ""), []string{bad.oldEncrypted, "encrypted"}},
		{"client CA", server(f.ServerCert, f.ServerKey, f.ServerKey), []string{"tls client CA " + f.ServerKey, "holds a private key"}},
		{"all at once", server(bad.missing, bad.encrypted, bad.text), []string{
			bad.missing, bad.encrypted, "tls client CA " + bad.text}},
		{"no key and a bad CA", server(f.ServerCert, "", bad.text), []string{
			"tls server key: none given", "tls client CA " + bad.text}},
		{"target all at once", client(bad.text, bad.missing, bad.empty), []string{
			"tls target CA " + bad.text, "tls target certificate " + bad.missing, "tls target key " + bad.empty}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(tt.err.Error(), want) {
					t.Errorf("error %q does not say %q", tt.err, want)
				}
			}
		})
	}
}

func TestMinVersionBelowTLS12IsRefused(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	if _, err := NewServer(ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, MinVersion: tls.VersionTLS11}); err == nil {
		t.Error("server takes TLS 1.1")
	}
	if _, err := NewClient(ClientFiles{MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("client takes TLS 1.0")
	}
}

// Certificate and key may be in one file, in either order.
func TestCertificateAndKeyInOneFile(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	cert, key := read(t, f.ServerCert), read(t, f.ServerKey)
	for _, order := range [][2][]byte{{cert, key}, {key, cert}} {
		data := slices.Concat(order[0], order[1])
		both := write(t, "both.pem", data)
		if _, err := NewServer(ServerFiles{Cert: both, Key: both}); err != nil {
			t.Error(err)
		}
	}
}

func TestSettings(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	c := mustClient(t, ClientFiles{ServerName: "a.example", SkipVerify: true})
	one, two := c.Config(), c.Config()
	if !one.DynamicRecordSizingDisabled || !one.InsecureSkipVerify || one.ServerName != "a.example" ||
		one.MinVersion != tls.VersionTLS12 || one.RootCAs != nil {
		t.Errorf("client config: %+v", one)
	}
	one.ServerName = "b.example"
	if two.ServerName != "a.example" || c.Config().ServerName != "a.example" {
		t.Error("Config returns the same configuration twice")
	}
	outer := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, MinVersion: tls.VersionTLS13}).Config()
	inner, err := outer.GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*tls.Config{outer, inner} {
		if !c.SessionTicketsDisabled || c.MinVersion != tls.VersionTLS13 {
			t.Errorf("server config: tickets disabled %v, version %#x", c.SessionTicketsDisabled, c.MinVersion)
		}
	}
}
