package target

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestDialTrackedRefused(t *testing.T) {
	for _, scheme := range []string{SchemeTCP, SchemeUnix} {
		ln, a := listen(t, scheme)
		ln.Close()
		c, err := DialTracked(t.Context(), a, new(Options))
		if err == nil {
			c.Close()
			t.Fatalf("%s: connected to a closed listener", a)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) ||
			!strings.Contains(err.Error(), "dial target "+a.String()) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// The error of a failed handshake names the target.
func TestDialTrackedTLSErrors(t *testing.T) {
	t.Parallel()
	files := certs(t)
	wrongName := func() *tls.Config {
		config := files.ClientTLS()
		config.ServerName = "elsewhere.example.com"
		return config
	}
	tests := map[string]struct {
		client func() *tls.Config
		hint   string
	}{
		"stranger":         {func() *tls.Config { return new(tls.Config) }, "certificate"},
		"wrong name":       {wrongName, "elsewhere.example.com"},
		"no configuration": {nil, "no TLS configuration"},
	}
	for name, test := range tests {
		ln, a := listen(t, SchemeTLS)
		var server sync.WaitGroup
		server.Go(func() {
			if conn, err := ln.Accept(); err == nil {
				tls.Server(conn, files.ServerTLS()).Handshake()
				conn.Close()
			}
		})
		c, err := DialTracked(t.Context(), a, &Options{TLS: test.client, Timeout: wait})
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", name)
		} else if msg := err.Error(); !strings.Contains(msg, a.String()) ||
			!strings.Contains(msg, "TLS handshake") || !strings.Contains(msg, test.hint) {
			t.Errorf("%s: %q names not all of %s, the handshake and %q", name, msg, a, test.hint)
		}
		server.Wait()
	}
}

// DialTracked takes the server's name from the address where none is configured, and does not
// change the caller's configuration.
func TestDialTrackedServerName(t *testing.T) {
	t.Parallel()
	files := certs(t)
	ln, a := listen(t, SchemeTLS)
	config := files.ClientTLS()
	config.ServerName = ""
	c, peer := connect(t, tls.NewListener(ln, files.ServerTLS()), a, Options{TLS: func() *tls.Config { return config }})
	mustWrite(t, c, []byte("x\n"))
	readN(t, peer, 2)
	if config.ServerName != "" || config.DynamicRecordSizingDisabled {
		t.Error("the caller's configuration was changed")
	}
}

// The time limit covers the handshake of a server that sends nothing, and the end of the context
// ends a dial.
func TestDialTrackedEndsWithItsContext(t *testing.T) {
	t.Parallel()
	files := certs(t)
	_, a := listen(t, SchemeTLS) // the kernel accepts connections, and nothing answers them
	start := time.Now()
	c, err := DialTracked(t.Context(), a, &Options{TLS: files.ClientTLS, Timeout: 150 * time.Millisecond})
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
	if d := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || d > wait/2 {
		t.Errorf("%v after %v", err, d)
	}

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if c, err = DialTracked(ctx, a, &Options{TLS: files.ClientTLS, Timeout: wait}); err == nil {
		c.Close()
		t.Fatal("connected")
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the context's end: %v", err)
	}
	if c, err = DialTracked(ctx, Address{Scheme: SchemeTCP, Host: a.Host}, new(Options)); err == nil {
		c.Close()
		t.Fatal("connected although the context has ended")
	}
}

// The name in a certificate is that of the address, else that of the settings, else the name that
// was looked up, else the host.
func TestServerNames(t *testing.T) {
	for _, test := range []struct{ option, setting, lookedUp, want string }{
		{"option.test", "setting.test", "name.test", "option.test"},
		{"", "setting.test", "name.test", "setting.test"},
		{"", "", "name.test", "name.test"},
		{"", "", "", "10.0.0.1"},
	} {
		a := Address{Scheme: SchemeTLS, Host: "10.0.0.1:1", ServerName: test.option, HostName: test.lookedUp}
		config, err := clientConfig(a, &Options{TLS: func() *tls.Config { return &tls.Config{ServerName: test.setting} }})
		if err != nil || config.ServerName != test.want {
			t.Errorf("%+v: %s, %v", test, config.ServerName, err)
		}
	}
}

// fakeDNS answers every question for A or AAAA records with the addresses in addrs of that family.
func fakeDNS(t *testing.T, addrs ...netip.Addr) *net.Resolver {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			server.WriteTo(answer(buf[:n], addrs), from)
		}
	})
	t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// answer builds the answer to a query with one question (RFC 1035, 4.1).
func answer(query []byte, addrs []netip.Addr) []byte {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, type and class
	asked := binary.BigEndian.Uint16(query[end-4:])
	msg := append([]byte(nil), query[:end]...)
	msg[2], msg[3] = 0x81, 0x80 // an answer, recursion desired and available
	var count uint16
	for _, a := range addrs {
		if kind := map[bool]uint16{true: 1, false: 28}[a.Is4()]; kind == asked {
			count++
			msg = append(msg, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 0, 0)
			msg = binary.BigEndian.AppendUint16(msg, uint16(a.BitLen()/8))
			msg = append(msg, a.AsSlice()...)
		}
	}
	binary.BigEndian.PutUint16(msg[6:], count)
	binary.BigEndian.PutUint32(msg[8:], 0) // no authority and no additional records
	return msg
}

// DialTracked looks a name up at every dial and tries all its addresses of both families. This test
// does not run in parallel: it replaces the global resolver.
func TestDialTrackedTriesAllAddresses(t *testing.T) {
	ln, a := listen(t, SchemeTCP)
	_, port, err := net.SplitHostPort(a.Host)
	if err != nil {
		t.Fatal(err)
	}
	a.Host = net.JoinHostPort("receiver.linesplit.test.", port)
	original := net.DefaultResolver
	defer func() { net.DefaultResolver = original }()

	net.DefaultResolver = fakeDNS(t)
	if c, err := DialTracked(t.Context(), a, &Options{Timeout: wait}); err == nil {
		c.Close()
		t.Fatal("connected to a name without an address")
	} else if !strings.Contains(err.Error(), a.String()) {
		t.Errorf("%v does not name %s", err, a)
	}
	// Only the last of these answers.
	net.DefaultResolver = fakeDNS(t, netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.2"),
		netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.1"))
	c, peer := connect(t, ln, a, Options{Timeout: wait})
	mustWrite(t, c, []byte("x\n"))
	readN(t, peer, 2)
	if got := c.RemoteAddr().String(); got != ln.Addr().String() {
		t.Errorf("connected to %s, want %s", got, ln.Addr())
	}
	if got := c.LocalAddr().String(); got != peer.RemoteAddr().String() {
		t.Errorf("connected from %s, the peer sees %s", got, peer.RemoteAddr())
	}
}

func TestKeepalive(t *testing.T) {
	for dead, want := range map[time.Duration]struct {
		interval time.Duration
		count    int
	}{
		0:                {time.Second, 29},
		time.Second:      {time.Second, 1}, // 2 s is the minimum
		2 * time.Second:  {time.Second, 1},
		3 * time.Second:  {time.Second, 2},
		30 * time.Second: {time.Second, 29},
		90 * time.Second: {time.Second, 89},
		time.Hour:        {36 * time.Second, 99},
	} {
		k := keepalive(dead)
		if !k.Enable || k.Idle != time.Second || k.Interval != want.interval || k.Count != want.count {
			t.Errorf("keepalive(%v) = %+v, want %+v", dead, k, want)
		}
	}
	// The kernel counts whole seconds and at most 127 probes.
	for dead := 2 * time.Second; dead < 2*time.Hour; dead += 700 * time.Millisecond {
		k := keepalive(dead)
		took := k.Idle + time.Duration(k.Count)*k.Interval
		if k.Interval%time.Second != 0 || k.Count > 127 || took > dead+time.Second || took < dead-dead/10-2*time.Second {
			t.Fatalf("keepalive(%v) = %+v gives up after %v", dead, k, took)
		}
	}
}

// Workers that all took the first address of a name left the other ones idle.
func TestDialsSpreadOverAddresses(t *testing.T) {
	original := net.DefaultResolver
	defer func() { net.DefaultResolver = original }()
	ln, a := listen(t, SchemeTCP)
	_, port, err := net.SplitHostPort(a.Host)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}
	var addrs []netip.Addr
	var listeners []net.Listener
	for _, host := range hosts {
		addrs = append(addrs, netip.MustParseAddr(host))
		if host != "127.0.0.1" {
			other, err := net.Listen("tcp", net.JoinHostPort(host, port))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			listeners = append(listeners, other)
		}
	}
	net.DefaultResolver = fakeDNS(t, addrs...)
	named := New(Address{Scheme: SchemeTCP, Host: net.JoinHostPort("receiver.linesplit.test.", port)}, nil)
	dials := func() (to []string) {
		for range 6 {
			c, err := DialTracked(t.Context(), named.NextDial(), &Options{Timeout: wait})
			if err != nil {
				t.Fatal(err)
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			to = append(to, host)
			c.Close()
		}
		return to
	}
	counts := map[string]int{}
	for _, host := range dials() {
		counts[host]++
	}
	for _, host := range hosts {
		if counts[host] != 2 {
			t.Errorf("connections: %v", counts)
		}
	}
	for _, other := range listeners {
		other.Close()
	}
	for _, host := range dials() { // the only one that is left
		if host != ln.Addr().(*net.TCPAddr).IP.String() {
			t.Errorf("connected to %s", host)
		}
	}
	if a := New(Address{Scheme: SchemeTCP, Host: "10.0.0.1:1"}, nil).NextDial(); a.Turn != 0 {
		t.Errorf("a literal address: %+v", a)
	}
}
