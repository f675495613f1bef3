package listen

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// skipWithoutIPv6 skips a test on machines without IPv6.
func skipWithoutIPv6(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	ln.Close()
}

// Go listens on IPv6, too, where it is told 0.0.0.0: an operator who had opened linesplit to IPv4
// alone had opened it to the world.
func TestAddressFamilies(t *testing.T) {
	skipWithoutIPv6(t)
	certs := testcert.New(t, t.TempDir()).ServerTLS()
	for _, tt := range []struct {
		host   string
		v4, v6 bool
	}{
		{"0.0.0.0", true, false}, {"[::ffff:0.0.0.0]", true, false}, {"127.0.0.1", true, false},
		{"[::1]", false, true}, {"[::]", true, true}, {"", true, true},
	} {
		for _, scheme := range []string{schemeTCP, schemeTLS, schemeUDP} {
			for _, reuse := range []bool{false, runtime.GOOS == "linux"} {
				s := mustParse(t, scheme+"://"+tt.host+":0")
				if reuse {
					s = s.ReusePort()
				}
				listensOn(t, fmt.Sprintf("%s, shared %v", s, reuse), scheme, tt.v4, tt.v6, func() (net.Addr, io.Closer) {
					ln, err := Open(t.Context(), s, certs, nil)
					must(t, err)
					return ln.Addr(), ln
				})
			}
		}
		s := mustParse(t, "udp://"+tt.host+":0")
		listensOn(t, "datagrams, "+s.String(), schemeUDP, tt.v4, tt.v6, func() (net.Addr, io.Closer) {
			pc, err := OpenPacket(t.Context(), s, nil)
			must(t, err)
			return pc.LocalAddr(), pc
		})
	}
}

// listensOn fails a test unless what open returns takes connections or datagrams in the wanted
// families alone. The kernel chooses the port, and in the other family a socket of another process
// may have the same number: open is called again, for another port, before the test fails.
func listensOn(t *testing.T, name, scheme string, v4, v6 bool, open func() (net.Addr, io.Closer)) {
	t.Helper()
	network := schemeTCP
	if scheme == schemeUDP {
		network = schemeUDP
	}
	var got4, got6 bool
	for range 5 {
		addr, socket := open()
		port := netip.MustParseAddrPort(addr.String()).Port()
		got4, got6 = taken(t, network, "127.0.0.1", port), taken(t, network, "::1", port)
		socket.Close()
		if got4 == v4 && got6 == v6 {
			return
		}
	}
	t.Errorf("%s: IPv4 %v, IPv6 %v, want %v and %v", name, got4, got6, v4, v6)
}

// taken reports whether a socket has an address.
func taken(t *testing.T, network, host string, port uint16) bool {
	t.Helper()
	address := net.JoinHostPort(host, fmt.Sprint(port))
	if network == schemeTCP {
		conn, err := net.DialTimeout(network, address, 10*time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	conn, err := net.Dial(network, address)
	must(t, err)
	defer conn.Close()
	// Where no socket is, the kernel answers with an error. Where one is, nothing answers.
	io.WriteString(conn, "x")
	must(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// 0.0.0.0 and [::] of one port were refused together, since [::] took both families.
func TestBothFamiliesApart(t *testing.T) {
	skipWithoutIPv6(t)
	for _, scheme := range []string{schemeTCP, schemeUDP} {
		for _, host := range []string{"[::]", ""} {
			first, err := Open(t.Context(), mustParse(t, scheme+"://0.0.0.0:0"), nil, nil)
			must(t, err)
			port := netip.MustParseAddrPort(first.Addr().String()).Port()
			specs := []Spec{
				mustParse(t, fmt.Sprintf("%s://%s:%d", scheme, host, port)),
				mustParse(t, fmt.Sprintf("%s://0.0.0.0:%d", scheme, port)),
			}
			Apart(specs)
			second, err := Open(t.Context(), specs[0], nil, nil)
			if err != nil {
				t.Errorf("%s beside %s: %v", specs[0], first, err)
				first.Close()
				continue
			}
			first.Close()
			if taken(t, scheme, "127.0.0.1", port) || !taken(t, scheme, "::1", port) {
				t.Errorf("%s is not every IPv6 address", specs[0])
			}
			second.Close()
		}
	}
}

func TestApart(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   bool // for the first
	}{
		{[]string{"tcp://[::]:9", "tcp://0.0.0.0:9"}, true},
		{[]string{"tcp://:9", "tls://10.0.0.1:9"}, true},
		{[]string{"tcp://[::]:9", "tcp://0.0.0.0:10"}, false},
		{[]string{"tcp://[::]:9", "udp://0.0.0.0:9"}, false},
		{[]string{"tcp://[::]:0", "tcp://0.0.0.0:0"}, false},
		{[]string{"tcp://[::]:9", "tcp://[::1]:9", "tcp://localhost:9", "stdin:", "unix:///x"}, false},
		{[]string{"tcp://[::1]:9", "tcp://0.0.0.0:9"}, false},
	} {
		var specs []Spec
		for _, value := range tt.values {
			specs = append(specs, mustParse(t, value))
		}
		Apart(specs)
		if got := specs[0].only6; got != tt.want {
			t.Errorf("%v: IPv6 alone: %v", tt.values, got)
		}
	}
}
