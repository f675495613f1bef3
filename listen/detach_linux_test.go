package listen

import (
	"crypto/tls"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type detachable interface {
	net.Listener
	Detach() (fd int, admits func(netip.AddrPort) bool, ok bool)
}

// acceptRaw accepts from a detached socket.
func acceptRaw(t *testing.T, fd int) int {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		n, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err == nil {
			t.Cleanup(func() { unix.Close(n) })
			return n
		}
		if err != unix.EAGAIN || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// Sockets that an event loop accepts have the options of those that Accept returns, and its peers
// are judged by the lists in force.
func TestDetachedListener(t *testing.T) {
	g := &Guard{}
	ln := openGuarded(t, "tcp://127.0.0.1:0", g).(detachable)
	name := ln.(interface{ String() string }).String()
	fd, admits, ok := ln.Detach()
	if !ok {
		t.Fatal("it could not be detached")
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer conn.Close()
	accepted := acceptRaw(t, fd)
	for _, o := range []struct {
		name                string
		level, option, want int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
	} {
		if got, err := unix.GetsockoptInt(accepted, o.level, o.option); err != nil || got != o.want {
			t.Errorf("%s = %d, %v, want %d", o.name, got, err, o.want)
		}
	}
	from := netip.MustParseAddrPort(conn.LocalAddr().String())
	if !admits(from) {
		t.Error("a peer is refused without lists")
	}
	must(t, g.Set(Lists{Deny: prefixes("127.0.0.1")}))
	if admits(from) || g.Stats().Denied != 1 {
		t.Errorf("a denied peer is admitted; %+v", g.Stats())
	}
	if got := ln.(interface{ String() string }).String(); got != name {
		t.Errorf("its name changed from %s to %s", name, got)
	}
	must(t, ln.Close())
	must(t, ln.Close())
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the port is still open after Close")
	}
}

func TestListenersThatDoMoreStay(t *testing.T) {
	proxies := &Guard{ProxyFrom: prefixes("192.0.2.1")}
	secure, err := Open(t.Context(), mustParse(t, "tls://127.0.0.1:0"), &tls.Config{}, nil)
	must(t, err)
	defer secure.Close()
	for _, ln := range []net.Listener{openGuarded(t, "tcp://127.0.0.1:0", proxies), secure} {
		if _, _, ok := ln.(detachable).Detach(); ok {
			t.Errorf("%v was detached", ln)
		}
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer conn.Close()
		far, err := ln.Accept()
		must(t, err)
		far.Close()
	}
}

// A detached listener gives way to a younger process like any other.
func TestDetachedListenerStepsAside(t *testing.T) {
	s := mustParse(t, "tcp://127.0.0.1:0").ReusePort()
	first, err := Open(t.Context(), s, nil, nil)
	must(t, err)
	defer first.Close()
	if _, _, ok := first.(detachable).Detach(); !ok {
		t.Fatal("it could not be detached")
	}
	next, err := Open(t.Context(), mustParse(t, "tcp://"+first.Addr().String()).ReusePort(), nil, nil)
	must(t, err)
	defer next.Close()
	aside := first.(interface{ StepAside() error })
	must(t, aside.StepAside())
	for range 20 {
		conn, err := net.Dial("tcp", first.Addr().String())
		must(t, err)
		defer conn.Close()
		far, err := next.Accept() // would wait for ever if one came to the first
		must(t, err)
		far.Close()
	}
	must(t, first.Close())
	if err := aside.StepAside(); err == nil {
		t.Error("a closed listener stepped aside")
	}
}

func TestDetachedUnixListenerRemovesItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := Open(t.Context(), mustParse(t, "unix://"+path), nil, nil)
	must(t, err)
	fd, admits, ok := ln.(detachable).Detach()
	if !ok || admits != nil {
		t.Fatalf("detached: %v", ok)
	}
	conn, err := net.Dial("unix", path)
	must(t, err)
	defer conn.Close()
	acceptRaw(t, fd)
	must(t, ln.Close())
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	must(t, os.WriteFile(path, nil, fs.ModePerm))
	must(t, ln.Close())
	if _, err := os.Lstat(path); err != nil {
		t.Error("the second Close removed another's file")
	}
}
