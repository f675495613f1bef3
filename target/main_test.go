package target

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/testcert"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "16") // the tests wait for kernels, not for CPUs; the command line overrides it
	goleak.VerifyTestMain(m)
}

// wait limits how long a test waits for what must happen.
const wait = time.Minute

// eventually polls for cond.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", wait, what)
		}
	}
}

// patient returns a waiting function that gives up only when the test has run out of time.
func patient() func() error {
	end := time.Now().Add(wait)
	return func() error {
		if time.Now().After(end) {
			return context.DeadlineExceeded
		}
		return nil
	}
}

// listen opens a listener for targets of the scheme and returns its address.
func listen(t testing.TB, scheme string) (net.Listener, Address) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	network, where := "tcp", "127.0.0.1:0"
	if scheme == SchemeUnix {
		network, where = "unix", t.TempDir()+"/s"
	}
	ln, err := lc.Listen(t.Context(), network, where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln, Address{Scheme: scheme, Host: ln.Addr().String()}
}

// connect dials a and returns both ends, which are closed when the test ends.
func connect(t testing.TB, ln net.Listener, a Address, o Options) (*Conn, net.Conn) {
	t.Helper()
	var peer net.Conn
	var accepted sync.WaitGroup
	accepted.Go(func() { peer = accept(t, ln) })
	c, err := DialTracked(t.Context(), a, &o)
	accepted.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, peer
}

// accept accepts one connection and, if the listener is a TLS listener, completes the handshake.
func accept(t testing.TB, ln net.Listener) net.Conn {
	peer, err := ln.Accept()
	if err != nil {
		t.Error("accept:", err)
		return nil
	}
	t.Cleanup(func() { peer.Close() })
	if secure, ok := peer.(*tls.Conn); ok {
		if err := secure.Handshake(); err != nil {
			t.Error("server's handshake:", err)
		}
	}
	return peer
}

// connectPlain opens a listener and connects to it.
func connectPlain(t testing.TB, scheme string, o Options) (*Conn, net.Conn) {
	t.Helper()
	ln, a := listen(t, scheme)
	return connect(t, ln, a, o)
}

// certs makes a set of certificates in files.
func certs(t testing.TB) testcert.Files {
	t.Helper()
	return testcert.New(t, t.TempDir())
}

// pattern returns n bytes in which a shift, a repetition or a hole would show. All callers share
// them and must not change them.
func pattern(n int) []byte { return patternOnce()[:n:n] }

var patternOnce = sync.OnceValue(func() []byte {
	p := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{}).Read(p)
	return p
})

// readN reads exactly n bytes.
func readN(t testing.TB, r io.Reader, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if k, err := io.ReadFull(r, p); err != nil {
		t.Fatalf("read %d of %d bytes: %v", k, n, err)
	}
	return p
}

// mustWrite writes all of p or fails the test.
func mustWrite(t testing.TB, c *Conn, p []byte) {
	t.Helper()
	if n, err := c.Write(p, patient()); err != nil || n != len(p) {
		t.Fatalf("Write of %d bytes = %d, %v", len(p), n, err)
	}
}

// reset closes the peer's end with a RST.
func reset(t testing.TB, peer net.Conn) {
	t.Helper()
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	peer.Close()
}

func closeWrite(t testing.TB, peer net.Conn) {
	t.Helper()
	if err := peer.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// collector reads everything that a peer receives, to the end.
type collector struct {
	done sync.WaitGroup
	got  bytes.Buffer
	err  error
}

func collect(peer net.Conn) *collector {
	c := new(collector)
	c.done.Go(func() { _, c.err = io.Copy(&c.got, peer) })
	return c
}

// all waits for the end and returns what the peer received, which must be a prefix of want.
func (c *collector) all(t testing.TB, want []byte) []byte {
	t.Helper()
	c.done.Wait()
	if !bytes.HasPrefix(want, c.got.Bytes()) {
		t.Fatalf("what the peer received, %d bytes, is not a prefix of what was written, %d", c.got.Len(), len(want))
	}
	return c.got.Bytes()
}
