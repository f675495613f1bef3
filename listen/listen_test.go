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

func TestTCPListener(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			ln, err := Open(t.Context(), mustParse(t, "tcp://"+host+":0"), nil, nil)
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				t.Skip("no such address here")
			}
			must(t, err)
			defer ln.Close()
			port := ln.Addr().(*net.TCPAddr).Port
			name := accept.Name(ln)
			if port == 0 || !strings.HasPrefix(name, "tcp://"+host+":") || strings.HasSuffix(name, ":0") {
				t.Errorf("address %v, name %s", ln.Addr(), name)
			}
			near, far := connect(t, ln)
			if _, ok := far.(*net.TCPConn); !ok {
				t.Errorf("Accept returned a %T", far)
			}
			exchange(t, near, far)
		})
	}
}

func TestTLSListener(t *testing.T) {
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
	near, far := connect(t, ln) // Accept does not wait for the silent client
	server, ok := far.(*tls.Conn)
	if !ok {
		t.Fatalf("Accept returned a %T", far)
	}
	if server.ConnectionState().HandshakeComplete {
		t.Error("Accept did the handshake")
	}
	exchange(t, tls.Client(near, f.ClientTLS()), far)
}

// Ended reports whether the stream ended without TLS's close_notify.
func TestTLSEndIsDistinguished(t *testing.T) {
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

func TestBusyPortIsAnError(t *testing.T) {
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

func TestForeignAddressIsAnError(t *testing.T) {
	_, err := Open(t.Context(), mustParse(t, "tcp://192.0.2.1:9000"), nil, nil)
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "no interface") {
		t.Errorf("got %v", err)
	}
}

// A deadline lets a caller empty the backlog before it closes the listener.
func TestAcceptHasDeadline(t *testing.T) {
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

// A listener outlives the context that opened it.
func TestListenerOutlivesItsContext(t *testing.T) {
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

// meet checks that a listener serves.
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
