package accept

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"linesplit/internal/stranger"
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

// A peer that sent plain text to a TLS listener learned nothing: its connection ended like that of
// a receiver that has read everything, and a linesplit as the sender counted its lines as
// delivered.
func TestPlainTextIsAnsweredByAnAlert(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, watch := range map[string]func(net.Conn) net.Conn{
		"bounded":   func(c net.Conn) net.Conn { return tlsconf.NewHandshakes(0, nil).Watch(c) },
		"unbounded": func(c net.Conn) net.Conn { return c },
	} {
		near, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		far, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(near, "a line\n")
		err = Handshake(tls.Server(watch(far), &tls.Config{}))
		far.Close()
		said := make([]byte, 7)
		_, readErr := io.ReadFull(near, said)
		if err == nil || readErr != nil || !strings.Contains(stranger.Hint(said), "it speaks TLS") {
			t.Errorf("%s: %v; the peer reads %q, %v", name, err, said, readErr)
		}
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
