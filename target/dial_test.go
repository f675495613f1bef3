package target

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/simulate/sink"
)

// Dial returns the kind of connection of each scheme, and sends the header before everything else.
func TestDialReturnsAConnectionOfEachKind(t *testing.T) {
	t.Parallel()
	files := certs(t)
	header := []byte("PROXY UNKNOWN\r\n")
	for scheme, isKind := range map[string]func(net.Conn) bool{
		SchemeTCP:  func(c net.Conn) bool { _, ok := c.(*net.TCPConn); return ok },
		SchemeUnix: func(c net.Conn) bool { _, ok := c.(*net.UnixConn); return ok },
		SchemeTLS:  func(c net.Conn) bool { s, ok := c.(*tls.Conn); return ok && s.ConnectionState().HandshakeComplete },
	} {
		ln, a := listen(t, scheme)
		var peer sync.WaitGroup
		var got []byte
		peer.Go(func() {
			conn := accept(t, ln)
			first := make([]byte, len(header))
			io.ReadFull(conn, first)
			if scheme == SchemeTLS {
				conn = tls.Server(conn, files.ServerTLS())
			}
			rest, err := io.ReadAll(conn)
			if got = append(first, rest...); err != nil {
				t.Error(scheme, err)
			}
		})
		c, err := Dial(t.Context(), a, &Options{TLS: files.ClientTLS, Timeout: wait}, header)
		if err != nil {
			t.Fatal(err)
		}
		if !isKind(c) {
			t.Errorf("%s: got a %T", scheme, c)
		}
		io.WriteString(c, "hello")
		c.Close()
		if peer.Wait(); string(got) != string(header)+"hello" {
			t.Errorf("%s: the peer received %q", scheme, got)
		}
	}
}

// The end of the context of a dial, including its time limit, does not affect the connection that
// it returned.
func TestDialledConnectionOutlivesItsContext(t *testing.T) {
	t.Parallel()
	ln, a := listen(t, SchemeTCP)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Dial(ctx, a, &Options{Timeout: wait}, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer := accept(t, ln)
	cancel()
	time.Sleep(50 * time.Millisecond)
	io.WriteString(c, "y")
	if got := readN(t, peer, 2); !bytes.Equal(got, []byte("xy")) {
		t.Errorf("received %q", got)
	}
}

func TestDialUDP(t *testing.T) {
	t.Parallel()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	c, err := Dial(t.Context(), Address{Scheme: SchemeUDP, Host: pc.LocalAddr().String()}, new(Options), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.(*net.UDPConn); !ok || c.RemoteAddr().String() != pc.LocalAddr().String() {
		t.Errorf("%T to %v", c, c.RemoteAddr())
	}
	io.WriteString(c, "datagram")
	buf := make([]byte, 100)
	pc.SetDeadline(time.Now().Add(wait))
	n, from, err := pc.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "datagram" || from.String() != c.LocalAddr().String() {
		t.Errorf("received %q from %v, %v", buf[:n], from, err)
	}
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	files := certs(t)
	_, silent := listen(t, SchemeTLS) // the kernel accepts connections, and nothing answers them
	// At an address of its own: another test could be given the port of 127.0.0.1.
	refusing, err := net.Listen("tcp", net.JoinHostPort(sink.FreshHost(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	gone := Address{Scheme: SchemeTCP, Host: refusing.Addr().String()}
	refusing.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		a    Address
		o    Options
		want error
		hint string
	}{
		"refused": {t.Context(), gone, Options{}, nil, "refused"},
		"no such socket": {t.Context(), Address{Scheme: SchemeUnix, Host: t.TempDir() + "/none"}, Options{},
			os.ErrNotExist, ""},
		"no handshake": {t.Context(), silent, Options{TLS: files.ClientTLS, Timeout: time.Second},
			context.DeadlineExceeded, "TLS handshake"},
		"ended":            {ended, silent, Options{TLS: files.ClientTLS}, context.Canceled, ""},
		"no configuration": {t.Context(), silent, Options{}, nil, "no TLS configuration"},
		"options not in name": {t.Context(), Address{Scheme: SchemeTCP, Host: gone.Host, Weight: 3}, Options{},
			nil, "dial target tcp://" + gone.Host + ": "},
	} {
		start := time.Now()
		c, err := Dial(test.ctx, test.a, &test.o, nil)
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", name)
			continue
		}
		if test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.hint) ||
			!strings.Contains(err.Error(), "dial target "+test.a.String()) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > wait/2 {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

// This test does not run in parallel: it replaces the global resolver.
func TestDialTriesAllAddresses(t *testing.T) {
	ln, a := listen(t, SchemeTCP)
	_, port, err := net.SplitHostPort(a.Host)
	if err != nil {
		t.Fatal(err)
	}
	original := net.DefaultResolver
	defer func() { net.DefaultResolver = original }()
	net.DefaultResolver = fakeDNS(t, netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.2"),
		netip.MustParseAddr("127.0.0.1"))
	a.Host = net.JoinHostPort("receiver.linesplit.test.", port)
	c, err := Dial(t.Context(), a, &Options{Timeout: wait}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != ln.Addr().String() {
		t.Errorf("connected to %s, want %s", got, ln.Addr())
	}
}

// A caller may refuse an address that a name has led to. The dial makes no connection to it, and
// goes on to the next address.
func TestMayConnect(t *testing.T) {
	t.Parallel()
	refused := errors.New("not there")
	for _, scheme := range []string{SchemeTCP, SchemeUnix, SchemeUDP} {
		a := Address{Scheme: SchemeUDP, Host: "127.0.0.1:9"}
		if scheme != SchemeUDP {
			_, a = listen(t, scheme)
		}
		var network, address string
		o := Options{Timeout: wait, MayConnect: func(n, a string) error {
			network, address = n, a
			return refused
		}}
		if c, err := Dial(t.Context(), a, &o, nil); !errors.Is(err, refused) {
			t.Errorf("%s: %v", scheme, err)
			if err == nil {
				c.Close()
			}
		}
		if !strings.HasPrefix(network, scheme) || address != a.Host {
			t.Errorf("%s: asked about %s %s", scheme, network, address)
		}
		if scheme == SchemeUDP {
			continue
		}
		if c, err := DialTracked(t.Context(), a, &o); !errors.Is(err, refused) || IsLocalError(err) {
			t.Errorf("%s, tracked: %v", scheme, err)
			if err == nil {
				c.Abort()
			}
		}
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	o := Options{Timeout: wait, MayConnect: func(network, _ string) error {
		if network == "tcp6" {
			return refused
		}
		return nil
	}}
	c, err := Dial(t.Context(), Address{Scheme: SchemeTCP, Host: net.JoinHostPort("localhost", port)}, &o, nil)
	if err != nil {
		t.Fatalf("a name with an address that may be used: %v", err)
	}
	c.Close()
}
