//go:build unix

package tlsconf

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/clienthello"
	"linesplit/internal/testcert"
)

// clientHello returns the first bytes of a TLS client, up to the end of its ClientHello.
func clientHello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go tls.Client(far, config).Handshake()
	b := make([]byte, 16<<10)
	n, err := near.Read(b)
	must(t, err)
	return b[:n]
}

// inRecords returns a handshake message in records of a size each.
func inRecords(message []byte, size int) (b []byte) {
	for part := range slices.Chunk(message, size) {
		b = append(b, 22, 3, 1, byte(len(part)>>8), byte(len(part)))
		b = append(b, part...)
	}
	return b
}

// message returns a ClientHello of a size, header included, with nothing in it.
func message(size int) []byte {
	n := size - 4
	return append([]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...)
}

// patience is longer than anything takes, and shorter than a test may.
const patience = 30 * time.Second

// testServer is a TLS server with bounded handshakes.
type testServer struct {
	t       *testing.T
	ln      net.Listener
	h       *Handshakes
	charged atomic.Int64
	errs    chan error // of each handshake
	client  *tls.Config
	serving sync.WaitGroup
}

func newTestServer(t *testing.T) *testServer {
	t.Helper()
	certs := testcert.New(t, t.TempDir())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g := &testServer{t: t, ln: ln, errs: make(chan error, 1000), client: certs.ClientTLS()}
	g.client.ServerName = "localhost"
	g.h = NewHandshakes(1, func(n int64) { g.charged.Add(n) })
	config := mustServer(t, ServerFiles{Cert: certs.ServerCert, Key: certs.ServerKey}).Config()
	g.serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			g.serving.Go(func() { g.errs <- g.handshake(conn, config) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		g.serving.Wait()
		if st := g.h.Stats(); st.Running+st.Waiting != 0 || st.Bytes != 0 || g.charged.Load() != 0 {
			t.Errorf("at the end: %+v, %d bytes charged", st, g.charged.Load())
		}
	})
	return g
}

func (g *testServer) handshake(conn net.Conn, config *tls.Config) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in := g.h.Watch(conn)
	return in.Handshake(tls.Server(in, config))
}

// dial connects and sends first.
func (g *testServer) dial(first []byte) net.Conn {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.ln.Addr().String())
	must(g.t, err)
	g.t.Cleanup(func() { conn.Close() })
	_, err = conn.Write(first)
	must(g.t, err)
	return conn
}

// until waits for the counts.
func (g *testServer) until(what string, done func(HandshakeStats) bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !done(g.h.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("waited in vain until %s: %+v", what, g.h.Stats())
		}
	}
}

// served makes a whole handshake.
func (g *testServer) served() {
	g.t.Helper()
	conn := g.dial(nil)
	conn.SetDeadline(time.Now().Add(patience))
	if err := tls.Client(conn, g.client).Handshake(); err != nil {
		g.t.Errorf("an honest client: %v", err)
	}
	conn.Close()
}

// 5,107 clients with an unfinished ClientHello of 65 KB once took 134 KiB each for as long as a
// handshake may last.
func TestUnfinishedHelloHoldsNothing(t *testing.T) {
	g := newTestServer(t)
	hello := clientHello(t, g.client)
	conns := []net.Conn{g.dial(nil), g.dial(hello[:1]), g.dial(hello[:len(hello)-1])}
	for range 3 {
		g.served() // the others had the time to be read
	}
	g.until("no place is taken", func(st HandshakeStats) bool { return st.Running+st.Waiting == 0 })
	for _, conn := range conns {
		conn.Close()
	}
}

func TestHelloThatIsTooLargeIsRefusedAtOnce(t *testing.T) {
	g := newTestServer(t)
	g.dial(inRecords(message(65_000), 16<<10)[:100])
	if err := <-g.errs; !errors.Is(err, clienthello.ErrTooLarge) {
		t.Errorf("the handshake: %v", err)
	}
	g.dial(inRecords(message(clienthello.MaxSize), 1)) // as large as may be, and six times that with its records
	if err := <-g.errs; !errors.Is(err, clienthello.ErrTooLarge) {
		t.Errorf("the handshake in tiny records: %v", err)
	}
}

// After its ClientHello a client may send no more than a handshake needs.
func TestClientThatSendsTooMuchIsRefused(t *testing.T) {
	g := newTestServer(t)
	conn := g.dial(clientHello(t, g.client))
	endless := inRecords(append([]byte{11, 3, 0xff, 0xff}, make([]byte, 200<<10)...), 16<<10)
	conn.Write(endless) // it may be refused before it has taken all
	if err := <-g.errs; err == nil {
		t.Error("200 KiB were accepted")
	}
}

func TestEndBeforeTheFirstByteIsAProbe(t *testing.T) {
	g := newTestServer(t)
	hello := clientHello(t, g.client)
	end := func(first []byte, reset bool) error {
		conn := g.dial(first)
		if reset {
			conn.(*net.TCPConn).SetLinger(0)
		}
		conn.Close()
		return <-g.errs
	}
	for _, reset := range []bool{false, true} {
		if err := end(nil, reset); !errors.Is(err, ErrProbe) {
			t.Errorf("without a byte, reset %v: %v", reset, err)
		}
	}
	if n := g.h.Stats().Probes; n != 2 {
		t.Errorf("%d probes, want 2", n)
	}
	if err := end(hello[:10], false); errors.Is(err, ErrProbe) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("within the ClientHello: %v", err)
	}
}

// Clients that had gone kept their places in the queue, each with a descriptor of ours.
func TestWaitingClientIsLost(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	pair := func() (near, far net.Conn) {
		near, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		far, err = ln.Accept()
		must(t, err)
		t.Cleanup(func() { near.Close(); far.Close() })
		_, err = near.Write([]byte("unread"))
		must(t, err)
		return near, far
	}
	near, far := pair()
	if err := clienthello.Lost(far); err != nil {
		t.Errorf("an open connection: %v", err)
	}
	far.SetReadDeadline(time.Unix(1, 0))
	if err := clienthello.Lost(far); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after its deadline: %v", err)
	}
	far.SetReadDeadline(time.Time{})
	if runtime.GOOS == "linux" {
		near.Close()
		for end := time.Now().Add(patience); clienthello.Lost(far) == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		if err := clienthello.Lost(far); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after the client has closed: %v", err)
		}
	}
	far.Close()
	if err := clienthello.Lost(far); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after it was closed: %v", err)
	}
}
