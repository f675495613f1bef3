//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// A client that does not speak TLS, and a target that is no receiver of lines, are most often a
// wrong port or scheme. The log said nothing of what they speak.
func TestStrangersAreNamed(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			conn.(*net.TCPConn).CloseWrite()
			go func() { defer conn.Close(); io.Copy(io.Discard, conn) }()
		}
	}()
	s := testrig.NewStage(t)
	for _, mode := range []string{"line", "connection"} {
		p := s.StartLinesplit([]testrig.Target{testrig.HostPort(ln.Addr().String())}, "-mode", mode, "-listen", "tls://127.0.0.1:0",
			"-tls-cert", testrig.Certs.ServerCert, "-tls-key", testrig.Certs.ServerKey)
		conn, err := net.Dial("tcp", p.Listeners[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		testrig.WaitFor(t, mode+" mode names the client's protocol", func() bool {
			return strings.Contains(p.Stderr(), `the peer said \"GET /\": it is an HTTP client`)
		})
		if mode == "line" {
			testrig.WaitFor(t, "the log names the target's protocol", func() bool {
				return strings.Contains(p.Stderr(), `it said \"HTTP/1.1 400 Bad Request\": an HTTP server is there`)
			})
		}
	}
}
