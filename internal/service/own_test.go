package service

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestOwnListenerHas(t *testing.T) {
	at := func(address string) ownListener {
		return ownListener{network: "tcp", at: plain(netip.MustParseAddrPort(address))}
	}
	for _, test := range []struct {
		listener, to string
		want         bool
	}{
		{"127.0.0.1:9000", "127.0.0.1:9000", true},
		{"127.0.0.1:9000", "127.0.0.1:9001", false},
		{"127.0.0.1:9000", "127.0.0.2:9000", false},
		{"127.0.0.1:9000", "[::1]:9000", false},
		{"127.0.0.1:9000", "[::ffff:127.0.0.1]:9000", true},
		{"127.0.0.1:9000", "0.0.0.0:9000", true},
		{"[::1]:9000", "[::]:9000", true},
		{"10.255.255.1:9000", "0.0.0.0:9000", false},
		{"[::]:9000", "127.0.0.1:9000", true},
		{"[::]:9000", "127.9.9.9:9000", true},
		{"[::]:9000", "[::1]:9000", true},
		{"[::]:9000", "127.0.0.1:9001", false},
		{"[::]:9000", "192.0.2.1:9000", false}, // an address for documents: no machine has it
		{"0.0.0.0:9000", "127.0.0.1:9000", true},
		{"0.0.0.0:9000", "[::1]:9000", false},
		{"0.0.0.0:9000", "0.0.0.0:9000", true},
		{"[fe80::1%eth0]:9000", "[fe80::1%eth0]:9000", true},
	} {
		if got := at(test.listener).has(test.to); got != test.want {
			t.Errorf("listener %s, target %s: %v", test.listener, test.to, got)
		}
	}
}

// A wildcard listener has all addresses of the machine's interfaces.
func TestOwnListenerHasTheMachinesAddresses(t *testing.T) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Skip(err)
	}
	l := ownListener{network: "tcp", at: netip.MustParseAddrPort("[::]:9000")}
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && !l.has(netip.AddrPortFrom(prefix.Addr(), 9000).String()) {
			t.Errorf("not %v", prefix.Addr())
		}
	}
}

func TestOwnListenersRefuseTheirOwnNetworksOnly(t *testing.T) {
	open := func(address string) net.Listener {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	ln, admin := open("127.0.0.1:0"), open("127.0.0.1:0")
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	var own ownListeners
	if err := own.mayConnect("tcp4", ln.Addr().String()); err != nil {
		t.Errorf("before anything listens: %v", err)
	}
	own.set(&inbound{listeners: []net.Listener{ln}, packets: []net.PacketConn{pc}}, admin)
	for _, test := range []struct {
		network string
		to      net.Addr
		own     bool
	}{
		{"tcp4", ln.Addr(), true}, {"udp4", ln.Addr(), false}, {"udp4", pc.LocalAddr(), true},
		{"tcp4", pc.LocalAddr(), ln.Addr().String() == pc.LocalAddr().String()}, {"tcp", admin.Addr(), true},
	} {
		if err := own.mayConnect(test.network, test.to.String()); err != nil != test.own {
			t.Errorf("%s %v: %v", test.network, test.to, err)
		}
	}
}

func TestSameSocket(t *testing.T) {
	dir := t.TempDir()
	socket, other, link := filepath.Join(dir, "s"), filepath.Join(dir, "other"), filepath.Join(dir, "link")
	for _, name := range []string{socket, other} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(socket, link); err != nil {
		t.Skip(err)
	}
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{socket, socket, true}, {socket, link, true}, {socket, other, false}, {socket, filepath.Join(dir, "gone"), false},
		{"@name", "@name", true}, {"@name", "@other", false}, {"@name", socket, false},
	} {
		if got := sameSocket(test.a, test.b); got != test.want {
			t.Errorf("%s, %s: %v", test.a, test.b, got)
		}
	}
}
