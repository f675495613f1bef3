package tlsconf

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/testcert"
)

func TestHandshakes(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	both := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(both, append(read(t, f.OtherCA), read(t, f.CA)...), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}
	mutual := ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA}
	withPair := ClientFiles{CA: f.CA, Cert: f.ClientCert, Key: f.ClientKey}
	with := func(s ServerFiles, v uint16) ServerFiles { s.MinVersion = v; return s }
	tests := []struct {
		name       string
		server     ServerFiles
		client     ClientFiles
		maxVersion uint16 // of the client
		version    uint16 // 0: the handshake fails
	}{
		{"1.3", plain, ClientFiles{CA: f.CA}, 0, tls.VersionTLS13},
		{"1.2", plain, ClientFiles{CA: f.CA}, tls.VersionTLS12, tls.VersionTLS12},
		{"1.2 against 1.3 only", with(plain, tls.VersionTLS13), ClientFiles{CA: f.CA}, tls.VersionTLS12, 0},
		{"by name", plain, ClientFiles{CA: f.CA, ServerName: "localhost"}, 0, tls.VersionTLS13},
		{"wrong name", plain, ClientFiles{CA: f.CA, ServerName: "other.example"}, 0, 0},
		{"unknown authority", plain, ClientFiles{CA: f.OtherCA}, 0, 0},
		{"system's authorities", plain, ClientFiles{}, 0, 0},
		{"bundle", plain, ClientFiles{CA: both}, 0, tls.VersionTLS13},
		{"skip verify", plain, ClientFiles{SkipVerify: true, ServerName: "other.example"}, 0, tls.VersionTLS13},
		{"expired server", ServerFiles{Cert: f.ExpiredCert, Key: f.ExpiredKey}, ClientFiles{CA: f.CA}, 0, 0},
		{"mutual", mutual, withPair, 0, tls.VersionTLS13},
		{"mutual 1.2", mutual, withPair, tls.VersionTLS12, tls.VersionTLS12},
		{"mutual without certificate", mutual, ClientFiles{CA: f.CA}, 0, 0},
		{"mutual without certificate 1.2", mutual, ClientFiles{CA: f.CA}, tls.VersionTLS12, 0},
		{"mutual with an untrusted certificate", mutual,
			ClientFiles{CA: f.CA, Cert: f.StrangerCert, Key: f.StrangerKey}, 0, 0},
		{"mutual with an expired one", mutual, ClientFiles{CA: f.CA, Cert: f.ExpiredCert, Key: f.ExpiredKey}, 0, 0},
		{"certificate that the server does not request", plain, withPair, 0, tls.VersionTLS13},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := mustClient(t, tt.client).Config()
			config.MaxVersion = tt.maxVersion
			near, far, err := handshake(t, mustServer(t, tt.server).Config(), config)
			if tt.version == 0 {
				if err == nil {
					t.Fatal("accepted, want it refused")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v := near.ConnectionState().Version; v != tt.version {
				t.Errorf("version %#x, want %#x", v, tt.version)
			}
			if verified := len(far.ConnectionState().VerifiedChains) > 0; verified != (tt.server.ClientCA != "") {
				t.Errorf("client certificate verified: %v", verified)
			}
			exchange(t, near, far)
		})
	}
}

// The client presents a certificate of an authority that the server does not trust all the same, so
// that the server can report what is wrong with it.
func TestUntrustedClientCertificateIsPresented(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey, ClientCA: f.CA}).Config()
	client := mustClient(t, ClientFiles{CA: f.CA, Cert: f.StrangerCert, Key: f.StrangerKey}).Config()
	_, _, err := handshake(t, server, client)
	if err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("got %v, want the server to report an unknown authority", err)
	}
}

// The lines of a sender that writes, never reads and closes would be lost to a reset if the server
// sent session tickets after the handshake.
func TestServerSendsNothingAfterTheHandshake(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}).Config()
	near, far, err := handshake(t, server, mustClient(t, ClientFiles{CA: f.CA}).Config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	near.NetConn().(*net.TCPConn).Close()
	data, err := io.ReadAll(far)
	if string(data) != "line\n" {
		t.Errorf("read %q, %v", data, err)
	}
	if err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("the connection broke: %v", err)
	}
}

// One Write of 16 KiB makes one record: acknowledged bytes are counted in whole records.
func TestOneWriteOneRecord(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	server := mustServer(t, ServerFiles{Cert: f.ServerCert, Key: f.ServerKey}).Config()
	near, far, err := handshake(t, server, mustClient(t, ClientFiles{CA: f.CA}).Config())
	if err != nil {
		t.Fatal(err)
	}
	go near.Write(bytes.Repeat([]byte{'x'}, 16<<10))
	header := make([]byte, 5)
	if _, err := io.ReadFull(far.NetConn(), header); err != nil {
		t.Fatal(err)
	}
	if n := int(header[3])<<8 | int(header[4]); n <= 16<<10 {
		t.Errorf("first record holds %d bytes, want all 16384 and a tag", n)
	} else if _, err := io.CopyN(io.Discard, far.NetConn(), int64(n)); err != nil {
		t.Error(err)
	}
}
