package testcert_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"linesplit/internal/testcert"
)

func TestPairs(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	tests := []struct {
		name, cert, key string
		matches, trusts bool
	}{
		{"server", f.ServerCert, f.ServerKey, true, true},
		{"client", f.ClientCert, f.ClientKey, true, true},
		{"expired", f.ExpiredCert, f.ExpiredKey, true, false},
		{"stranger", f.StrangerCert, f.StrangerKey, true, false},
		{"mismatched", f.ServerCert, f.MismatchedKey, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pair, err := tls.LoadX509KeyPair(tt.cert, tt.key)
			if (err == nil) != tt.matches {
				t.Fatalf("key matches certificate: %v, want %v", err == nil, tt.matches)
			}
			if err != nil {
				return
			}
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: f.Pool(), DNSName: "127.0.0.1"})
			if (err == nil) != tt.trusts {
				t.Errorf("CA vouches for it: %v, want %v (%v)", err == nil, tt.trusts, err)
			}
		})
	}
}

func TestHandshake(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(far, f.ServerTLS()).Handshake() }()
	if err := tls.Client(near, f.ClientTLS()).Handshake(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
