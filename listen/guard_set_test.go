package listen

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// New lists apply from the next connection on, on every kind of listener, and end no connection.
func TestSetAppliesToNewConnections(t *testing.T) {
	for _, proxies := range []string{"", "192.0.2.1"} {
		g := &Guard{}
		if proxies != "" {
			g.ProxyFrom = prefixes(proxies)
		}
		ln := openGuarded(t, "tcp://127.0.0.1:0", g)
		near, far := connect(t, ln)
		must(t, g.Set(Lists{Allow: prefixes("127.0.0.2"), ProxyFrom: g.ProxyFrom}))
		denied := dialFrom(t, "127.0.0.1", ln)
		let := dialFrom(t, "127.0.0.2", ln)
		accepted, err := ln.Accept()
		must(t, err)
		exchange(t, let, accepted)
		wantReset(t, denied)
		exchange(t, near, far)
		must(t, g.Set(Lists{}))
		meet(t, ln)
		if s := g.Stats(); s.Denied != 1 {
			t.Errorf("%+v", s)
		}
		accepted.Close()
	}
}

// A socket that was opened without restrictions can be restricted.
func TestSetAppliesToDatagrams(t *testing.T) {
	g := &Guard{}
	_, conn, sender := udp(t, g)
	other := udpFrom(t, "127.0.0.2", conn.LocalAddr().String())
	pc, err := OpenPacket(t.Context(), mustParse(t, "udp://127.0.0.1:0"), g)
	must(t, err)
	defer pc.Close()
	packetAddr := pc.LocalAddr().String()
	packetSender, packetOther := udpFrom(t, "127.0.0.1", packetAddr), udpFrom(t, "127.0.0.2", packetAddr)
	b := make([]byte, maxDatagram)
	wants := func(want string) {
		t.Helper()
		if got := readN(t, conn, len(want)+1, 100); got != want+"\n" {
			t.Errorf("read %q, want %q", got, want)
		}
		must(t, pc.SetReadDeadline(time.Now().Add(30*time.Second)))
		if n, _, err := pc.ReadFrom(b); err != nil || string(b[:n]) != want {
			t.Errorf("read %q, %v, want %q", b[:n], err, want)
		}
	}
	send(t, other, "open")
	send(t, packetOther, "open")
	wants("open")
	must(t, g.Set(Lists{Deny: prefixes("127.0.0.2")}))
	send(t, other, "denied")
	send(t, packetOther, "denied")
	send(t, sender, "let in")
	send(t, packetSender, "let in")
	wants("let in")
	if s := g.Stats(); s.Denied != 2 {
		t.Errorf("%+v", s)
	}
}

// Proxies may change, be removed and be added again if listeners can read headers.
func TestSetChangesProxies(t *testing.T) {
	g := trusting(0)
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	remote := func(header string) string {
		t.Helper()
		near, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer near.Close()
		_, err = io.WriteString(near, header)
		must(t, err)
		far, err := ln.Accept()
		must(t, err)
		defer far.Close()
		if far.RemoteAddr().String() == near.LocalAddr().String() {
			return "its own"
		}
		return far.RemoteAddr().String()
	}
	for _, step := range []struct {
		proxies []netip.Prefix
		header  string
		want    string
	}{
		{prefixes("127.0.0.1"), v1, "203.0.113.9:4711"},
		{nil, "", "its own"},
		{prefixes("192.0.2.1"), "", "its own"},
		{prefixes("127.0.0.0/8"), v1, "203.0.113.9:4711"},
	} {
		must(t, g.Set(Lists{ProxyFrom: step.proxies}))
		if got := remote(step.header); got != step.want {
			t.Errorf("with proxies %v: a client from %s, want %s", step.proxies, got, step.want)
		}
	}
}

// Set refuses proxies if a listener reads no headers, since it would take them for data.
func TestSetRefusesProxiesForOpenListeners(t *testing.T) {
	g := &Guard{Deny: prefixes("127.0.0.2")}
	must(t, g.Set(Lists{Deny: prefixes("127.0.0.3"), ProxyFrom: prefixes("127.0.0.1")})) // no listener is open yet
	must(t, g.Set(Lists{Deny: prefixes("127.0.0.3")}))
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	if err := g.Set(Lists{ProxyFrom: prefixes("127.0.0.1")}); !errors.Is(err, ErrProxyFromNeedsRestart) {
		t.Errorf("got %v", err)
	}
	meet(t, ln)
	if g.admits(netip.MustParseAddrPort("127.0.0.3:1")) || !g.admits(netip.MustParseAddrPort("127.0.0.2:1")) {
		t.Error("the refused lists changed something")
	}
}

// During Set each address is checked against one set of lists, never a mixture, and a check does
// not allocate.
func TestSetDuringChecks(t *testing.T) {
	from := netip.MustParseAddrPort("10.0.0.1:1")
	one := Lists{Allow: prefixes("10.0.0.1")}
	two := Lists{Allow: prefixes("10.0.0.0/8"), Deny: prefixes("10.0.0.2")}
	g := &Guard{Allow: one.Allow}
	stop := make(chan struct{})
	var setting, checking sync.WaitGroup
	setting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := errors.Join(g.Set(one), g.Set(two)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 2 {
		checking.Go(func() {
			for range 5000 {
				if !g.admits(from) || g.isProxy(from) {
					t.Error("denied, or taken for a proxy")
				}
			}
		})
	}
	checking.Wait()
	close(stop)
	setting.Wait()
	if n := testing.AllocsPerRun(1000, func() { g.admits(from) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
