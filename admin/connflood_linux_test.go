package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"linesplit/tlsconf"
)

// A probe connects, several times as many connections come from 40 other addresses, and only then
// does the probe's request arrive. It was closed.
func TestFloodOfConnectionsKeepsOutNoProbe(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{})
	probe, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	for i := range 5 * MaxConns {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("127.0.1.%d", 1+i%40))}}
		conn, err := dialer.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	probe.SetDeadline(time.Now().Add(longReading))
	if _, err := io.WriteString(probe, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(probe), nil)
	if err != nil {
		t.Fatalf("the probe's answer: %v", err)
	}
	answer.Body.Close()
}
