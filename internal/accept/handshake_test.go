package accept

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"linesplit/tlsconf"
)

func TestHandshakeKnowsProbes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near.Close()
	h := tlsconf.NewHandshakes(0, nil)
	if err := Handshake(tls.Server(h.Watch(far), &tls.Config{})); !IsProbe(err) {
		t.Errorf("Handshake with a connection that ended: %v", err)
	}
}

// Connections that no listener of ours has wrapped still get their handshake.
func TestHandshakeWithoutBounds(t *testing.T) {
	near, far := net.Pipe()
	near.Close()
	if err := Handshake(tls.Server(far, &tls.Config{})); err != io.EOF || IsProbe(err) {
		t.Errorf("Handshake over a closed pipe: %v", err)
	}
}
