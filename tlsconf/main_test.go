package tlsconf

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustServer(t *testing.T, f ServerFiles) *Server {
	t.Helper()
	s, err := NewServer(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClient(t *testing.T, f ClientFiles) *Client {
	t.Helper()
	c, err := NewClient(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// handshake connects over TCP and makes the handshakes of both sides. It returns the server's error
// first: in TLS 1.3 the client is done before the server has checked its certificate.
func handshake(t *testing.T, server, client *tls.Config) (near, far *tls.Conn, err error) {
	t.Helper()
	near, far, clientErr, serverErr := handshakeOfBoth(t, server, client)
	if clientErr != nil && (serverErr == nil || strings.Contains(serverErr.Error(), "remote error")) {
		return near, far, clientErr
	}
	return near, far, serverErr
}

// handshakeOfBoth is handshake with the error of each side.
func handshakeOfBoth(t *testing.T, server, client *tls.Config) (near, far *tls.Conn, clientErr, serverErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	if client.ServerName == "" {
		client.ServerName = "127.0.0.1"
	}
	dialled := make(chan error, 1)
	go func() {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			near = tls.Client(conn, client)
			if err = near.Handshake(); err != nil {
				conn.Close()
			}
		}
		dialled <- err
	}()
	conn, err := ln.Accept()
	must(t, err)
	far = tls.Server(conn, server)
	serverErr = far.Handshake()
	if serverErr != nil {
		conn.Close()
	}
	clientErr = <-dialled
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far, clientErr, serverErr
}

func exchange(t *testing.T, near, far net.Conn) {
	t.Helper()
	go near.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

func der(t *testing.T, path string) []byte {
	t.Helper()
	block, _ := pem.Decode(read(t, path))
	return block.Bytes
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logBuffer collects log output. It is safe for concurrent use.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBuffer) count(s string) int { return strings.Count(l.String(), s) }
