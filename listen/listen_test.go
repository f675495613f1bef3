package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/testcert"
)

func TestTCP(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			ln, err := Open(t.Context(), mustParse(t, "tcp://"+host+":0"), nil, nil)
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				t.Skip("no such address here")
			}
			must(t, err)
			defer ln.Close()
			port := ln.Addr().(*net.TCPAddr).Port
			if port == 0 || !strings.HasPrefix(accept.Name(ln), "tcp://"+host+":") || strings.HasSuffix(accept.Name(ln), ":0") {
				t.Errorf("address %v, name %s", ln.Addr(), accept.Name(ln))
			}
			near, far := connect(t, ln)
			if _, ok := far.(*net.TCPConn); !ok {
				t.Errorf("Accept returned a %T", far)
			}
			exchange(t, near, far)
		})
	}
}

func TestTLS(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	s := mustParse(t, "tls://127.0.0.1:0")
	if _, err := Open(t.Context(), s, nil, nil); err == nil {
		t.Error("TLS without a certificate")
	}
	ln, err := Open(t.Context(), s, f.ServerTLS(), nil)
	must(t, err)
	defer ln.Close()
	if !strings.HasPrefix(accept.Name(ln), "tls://127.0.0.1:") {
		t.Errorf("name %s", accept.Name(ln))
	}
	near, far := connect(t, ln) // and the client says nothing: Accept does not wait for it
	server, ok := far.(*tls.Conn)
	if !ok {
		t.Fatalf("Accept returned a %T", far)
	}
	if server.ConnectionState().HandshakeComplete {
		t.Error("Accept has shaken hands")
	}
	exchange(t, tls.Client(near, f.ClientTLS()), far)
}

// TestTLSEnds: it can be told whether TLS has ended or just the stream.
func TestTLSEnds(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	ln, err := Open(t.Context(), mustParse(t, "tls://127.0.0.1:0"), f.ServerTLS(), nil)
	must(t, err)
	defer ln.Close()
	for _, announced := range []bool{true, false} {
		near, far := connect(t, ln)
		client := tls.Client(near, f.ClientTLS())
		exchange(t, client, far)
		if announced {
			must(t, client.CloseWrite())
		} else {
			must(t, near.(*net.TCPConn).CloseWrite())
		}
		if n, err := far.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
		if ended := far.(*tls.Conn).NetConn().(interface{ Ended() bool }).Ended(); ended == announced {
			t.Errorf("end announced: %v, the stream's: %v", announced, ended)
		}
	}
}

func TestBusyPort(t *testing.T) {
	ln := mustOpen(t, "tcp://127.0.0.1:0")
	defer ln.Close()
	_, err := Open(t.Context(), mustParse(t, accept.Name(ln)), nil, nil)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listen on "+accept.Name(ln)+": ") {
		t.Errorf("got %v, want that %s is in use", err, accept.Name(ln))
	}
	if err != nil && strings.Count(err.Error(), ln.Addr().String()) != 1 {
		t.Errorf("%v: repeats itself", err)
	}
}

func TestForeignAddress(t *testing.T) {
	_, err := Open(t.Context(), mustParse(t, "tcp://192.0.2.1:9000"), nil, nil)
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "no interface") {
		t.Errorf("got %v", err)
	}
}

// TestAcceptDeadline: a caller can empty the backlog before it closes the listener.
func TestAcceptDeadline(t *testing.T) {
	for _, value := range []string{"tcp://127.0.0.1:0", "unix://" + t.TempDir() + "/s"} {
		ln := mustOpen(t, value)
		must(t, ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Unix(1, 0)))
		_, err := ln.Accept()
		if netErr, ok := errors.AsType[net.Error](err); !ok || !netErr.Timeout() {
			t.Errorf("%s: got %v, want a timeout", value, err)
		}
		must(t, ln.Close())
	}
}

func TestCloseEndsAccept(t *testing.T) {
	for _, value := range []string{"tcp://127.0.0.1:0", "unix://" + t.TempDir() + "/s"} {
		ln := mustOpen(t, value)
		accepted := make(chan error, 1)
		go func() {
			_, err := ln.Accept()
			accepted <- err
		}()
		must(t, ln.Close())
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Accept: %v, want net.ErrClosed", value, err)
		}
	}
}

// TestLifeBeyondContext: the context that opened a listener may end without ending it.
func TestLifeBeyondContext(t *testing.T) {
	for _, value := range []string{"tcp://127.0.0.1:0", "unix://" + t.TempDir() + "/s"} {
		ctx, cancel := context.WithCancel(t.Context())
		ln, err := Open(ctx, mustParse(t, value), nil, nil)
		must(t, err)
		cancel()
		connect(t, ln)
		must(t, ln.Close())
	}
}

func mustOpen(t *testing.T, value string) net.Listener {
	t.Helper()
	ln, err := Open(t.Context(), mustParse(t, value), nil, nil)
	must(t, err)
	return ln
}

// connect dials the listener and returns both ends, closed at the end of the test.
func connect(t *testing.T, ln net.Listener) (near, far net.Conn) {
	t.Helper()
	near, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	must(t, err)
	far, err = ln.Accept()
	must(t, err)
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// meet sees that a listener serves.
func meet(t *testing.T, ln net.Listener) {
	t.Helper()
	near, far := connect(t, ln)
	exchange(t, near, far)
}

func exchange(t *testing.T, near, far net.Conn) {
	t.Helper()
	written := make(chan error, 1)
	go func() {
		_, err := near.Write([]byte("hello"))
		written <- err
	}()
	got := make([]byte, 5)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	must(t, <-written)
}
