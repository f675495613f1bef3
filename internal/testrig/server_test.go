//go:build linux

package testrig

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"linesplit/internal/testcert"
)

// The client is connected to the server directly, so the expected counts are known.
func TestServerAnswersOnEveryNetwork(t *testing.T) {
	files := testcert.New(t, t.TempDir())
	kinds := []ServerOptions{{}, {Network: "unix"}, {Network: "abstract"}, {TLS: files.ServerTLS()}}
	for _, o := range kinds {
		server := NewServer(t, o)
		scheme, addr, _ := strings.Cut(server.Target(), "://")
		t.Run(scheme, func(t *testing.T) {
			network := "tcp"
			if o.Network != "" {
				network = "unix"
			}
			config := files.ClientTLS()
			if o.TLS == nil {
				config = nil
			}
			conn, err := Dial(network, addr, config)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			request := bytes.Repeat([]byte("request "), 10_000)
			conn.Write(request)
			CloseWrite(conn)
			if reply, err := io.ReadAll(conn); !bytes.Equal(reply, request) || err != nil {
				t.Errorf("%d bytes back of %d, %v", len(reply), len(request), err)
			}
			WaitFor(t, "the connection is gone", func() bool { return server.Open() == 0 })
			if server.Accepted() != 1 {
				t.Errorf("%d connections accepted, want 1", server.Accepted())
			}
		})
	}
}

func TestServerGoesAndComesBack(t *testing.T) {
	server := NewServer(t, ServerOptions{Handler: Echo})
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("x"))
	io.ReadFull(conn, make([]byte, 1))
	server.StopListening()
	if other, err := net.Dial("tcp", server.Addr()); err == nil {
		other.Close()
		t.Error("the server still listens")
	}
	conn.Write([]byte("y"))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("an open connection was not kept: %v", err)
	}
	server.ResetConnections()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %v, want a reset", err)
	}
	server.Listen()
	if other, err := net.Dial("tcp", server.Addr()); err != nil {
		t.Errorf("the server does not listen again: %v", err)
	} else {
		other.Close()
	}
}

func TestCheckedServerAnswersInOrder(t *testing.T) {
	statuses := make(chan int, 2)
	statuses <- 200
	statuses <- 503
	server := NewServer(t, ServerOptions{Handler: AnswerChecks(func() int { return <-statuses }, EchoAtEnd)})
	for request, want := range map[string]string{"hello": "hello", "GE": "GE", "": ""} {
		if got := ask(t, server.Addr(), request); got != want {
			t.Errorf("%q is answered with %q", request, got)
		}
	}
	for _, want := range []string{"HTTP/1.1 200 ", "HTTP/1.1 503 "} {
		if got := ask(t, server.Addr(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, want) {
			t.Errorf("a check is answered with %q, want %q", got, want)
		}
	}
}

func ask(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request)
	CloseWrite(conn)
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	return string(reply)
}

func TestPacketsComeBack(t *testing.T) {
	echo := NewPacketEcho(t)
	conn, err := net.Dial("udp", strings.TrimPrefix(echo.Target(), "udp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := make([]byte, 10)
	conn.Write([]byte("hello"))
	if n, err := conn.Read(got); string(got[:n]) != "hello" || err != nil {
		t.Errorf("read %q, %v", got[:n], err)
	}
	if echo.Packets() != 1 || echo.Peers() != 1 {
		t.Errorf("%d datagrams of %d peers, want one each", echo.Packets(), echo.Peers())
	}
}
