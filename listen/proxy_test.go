package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// trusting returns a Guard with 127.0.0.1 as a proxy.
func trusting(timeout time.Duration) *Guard {
	return &Guard{ProxyFrom: prefixes("127.0.0.1"), HeaderTimeout: timeout}
}

// Data from a peer that is not a proxy is data, even if it looks like a header.
func TestHeaderFromOtherPeerIsData(t *testing.T) {
	g := &Guard{ProxyFrom: prefixes("192.0.2.0/24"), HeaderTimeout: time.Millisecond}
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	near, far := connect(t, ln)
	if _, ok := far.(*net.TCPConn); !ok || far.RemoteAddr().String() != near.LocalAddr().String() {
		t.Errorf("a %T from %v", far, far.RemoteAddr())
	}
	_, err := io.WriteString(near, v1)
	must(t, err)
	got := make([]byte, len(v1))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != v1 {
		t.Errorf("read %q, %v", got, err)
	}
}

// The lists apply to the address in the header, not to the proxy's.
func TestListsApplyToAddressInHeader(t *testing.T) {
	g := trusting(0)
	g.Deny = prefixes("127.0.0.0/8", "203.0.113.0/24")
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	for _, tt := range []struct {
		header string
		in     bool
	}{{v1, false}, {"PROXY TCP4 192.0.2.1 198.51.100.1 4711 514\r\n", true}, {"PROXY UNKNOWN\r\n", true}} {
		near, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer near.Close()
		_, err = io.WriteString(near, tt.header)
		must(t, err)
		if !tt.in {
			wantReset(t, near)
			continue
		}
		far, err := ln.Accept()
		must(t, err)
		exchange(t, near, far)
	}
	denied := dialFrom(t, "127.0.0.2", ln)
	wantReset(t, denied)
	if s := g.Stats(); s.Denied != 2 || s.ProxyErrors != 0 {
		t.Errorf("%+v", s)
	}
}

// The connection behind a header can be used as a *net.TCPConn.
func TestProxiedConnIsATCPConn(t *testing.T) {
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0))
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer near.Close()
	_, err = io.WriteString(near, v1)
	must(t, err)
	far, err := ln.Accept()
	must(t, err)
	defer far.Close()
	type whole interface {
		syscall.Conn
		io.ReaderFrom
		CloseWrite() error
		SetLinger(int) error
		NetConn() net.Conn
	}
	raw, ok := far.(whole).NetConn().(*net.TCPConn)
	if !ok || raw.RemoteAddr().String() != near.LocalAddr().String() {
		t.Errorf("NetConn is a %T from %v", raw, raw.RemoteAddr())
	}
	exchange(t, near, far)
}

func TestTLSAfterHeader(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	ln, err := Open(t.Context(), mustParse(t, "tls://127.0.0.1:0"), f.ServerTLS(), trusting(0))
	must(t, err)
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer near.Close()
	_, err = io.WriteString(near, v1)
	must(t, err)
	far, err := ln.Accept()
	must(t, err)
	defer far.Close()
	if _, ok := far.(*tls.Conn); !ok || far.RemoteAddr().String() != "203.0.113.9:4711" {
		t.Errorf("a %T from %v", far, far.RemoteAddr())
	}
	exchange(t, tls.Client(near, f.ClientTLS()), far)
}

// Connections with slow headers do not hold up others, and end with the listener.
func TestSlowHeadersHoldUpNoOther(t *testing.T) {
	g := trusting(time.Hour)
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	var slow []net.Conn
	for range 50 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, v1[:20])
		must(t, err)
		slow = append(slow, conn)
	}
	other := dialFrom(t, "127.0.0.2", ln)
	far, err := ln.Accept()
	must(t, err)
	exchange(t, other, far)

	_, err = io.WriteString(slow[7], v1[20:])
	must(t, err)
	far, err = ln.Accept()
	must(t, err)
	exchange(t, slow[7], far)

	must(t, ln.Close())
	for i, conn := range slow {
		if i != 7 {
			wantReset(t, conn)
		}
	}
	if s := g.Stats(); s != (GuardStats{}) {
		t.Errorf("%+v: connections that ended with the listener were counted", s)
	}
}

// A caller that accepts until a deadline gets all connections whose headers have come.
func TestAcceptUntilDeadlineGetsAllHeaders(t *testing.T) {
	const clients = 100
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0))
	for range clients {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		_, err = io.WriteString(conn, v1+"a line\n")
		must(t, err)
		must(t, conn.Close())
	}
	must(t, ln.(deadlineListener).SetDeadline(time.Now().Add(30*time.Second)))
	for range clients {
		conn, err := ln.Accept()
		must(t, err)
		if got, err := io.ReadAll(conn); string(got) != "a line\n" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		conn.Close()
	}
}

// With a past deadline Accept fails at once, with a later one it waits, and Close ends a waiting
// Accept.
func TestProxyListenerDeadlines(t *testing.T) {
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0)).(deadlineListener)
	must(t, ln.SetDeadline(past))
	if _, err := ln.Accept(); !isTimeout(err) {
		t.Errorf("Accept: %v", err)
	}
	must(t, ln.SetDeadline(time.Time{}))
	accepted := make(chan error)
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	must(t, ln.SetDeadline(time.Now().Add(5*time.Millisecond)))
	if err := <-accepted; !isTimeout(err) {
		t.Errorf("Accept: %v", err)
	}
	must(t, ln.SetDeadline(time.Time{}))
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	must(t, ln.Close())
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := ln.SetDeadline(past); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetDeadline: %v", err)
	}
}

// If the listener is closed while many connect, each connection is either accepted or reset.
func TestCloseResetsPendingHeaders(t *testing.T) {
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0))
	var clients sync.WaitGroup
	for range 50 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		clients.Go(func() {
			defer conn.Close()
			io.WriteString(conn, v1)
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); isTimeout(err) {
				t.Error("neither served nor reset")
			}
		})
	}
	for range 20 {
		conn, err := ln.Accept()
		must(t, err)
		conn.Close()
	}
	must(t, ln.Close())
	clients.Wait()
}

func isTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

func wantReset(t *testing.T, conn net.Conn) {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d, %v, want a reset", n, err)
	}
}

// The checks of load balancers connect and end, with or without a reset.
func TestEndBeforeTheHeaderIsAProbe(t *testing.T) {
	g := trusting(0)
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	for _, reset := range []bool{false, true} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		if reset {
			must(t, conn.(*net.TCPConn).SetLinger(0))
		}
		must(t, conn.Close())
	}
	for end := time.Now().Add(30 * time.Second); g.Stats().Probes < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if s := g.Stats(); s != (GuardStats{Probes: 2}) {
		t.Errorf("%+v", s)
	}
}

// As many silent peers as there are places for headers once kept every other connection out for as
// long as a header may take.
func TestSilentPeersMakeRoom(t *testing.T) {
	g := trusting(time.Hour)
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	for range MaxPendingHeaders + 1 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer conn.Close()
	}
	must(t, ln.(deadlineListener).SetDeadline(time.Now().Add(30*time.Second)))
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer near.Close()
	_, err = io.WriteString(near, v1)
	must(t, err)
	far, err := ln.Accept()
	must(t, err)
	exchange(t, near, far)
	other := dialFrom(t, "127.0.0.2", ln)
	far, err = ln.Accept()
	must(t, err)
	exchange(t, other, far)
	if s := g.Stats(); s.ProxyErrors == 0 {
		t.Errorf("no silent peer was ended: %+v", s)
	}
}
