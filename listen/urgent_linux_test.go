package listen

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"linesplit/internal/accept"
	"linesplit/internal/testcert"
)

// The kernel took a byte out of the stream where a sender had written urgent data.
func TestUrgentDataStaysInTheStreamsOfAllListeners(t *testing.T) {
	config := testcert.New(t, t.TempDir()).ServerTLS()
	proxies := &Guard{ProxyFrom: prefixes("192.0.2.1")}
	var plainTCP net.ListenConfig
	plainTCP.SetMultipathTCP(false)
	socket, err := plainTCP.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	passed, _, err := handDown(t, map[string]any{"x": socket}).Open(mustParse(t, "systemd:x"), nil, nil, false)
	must(t, err)
	listeners := map[string]net.Listener{"systemd": passed[0]}
	for name, o := range map[string]struct {
		address string
		guard   *Guard
	}{
		"tcp":    {"tcp://127.0.0.1:0", nil},
		"tls":    {"tls://127.0.0.1:0", nil},
		"unix":   {"unix://" + filepath.Join(t.TempDir(), "s"), nil},
		"header": {"tcp://127.0.0.1:0", proxies},
	} {
		ln, err := Open(t.Context(), mustParse(t, o.address), config, o.guard)
		must(t, err)
		listeners[name] = ln
	}
	for name, ln := range listeners {
		defer ln.Close()
		near, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
		must(t, err)
		defer near.Close()
		far, err := ln.Accept()
		must(t, err)
		defer far.Close()
		if !keepsUrgent(t, far) {
			t.Errorf("%s, %s: urgent data does not stay in the stream", name, accept.Name(ln))
		}
	}
}

func keepsUrgent(t *testing.T, c net.Conn) (on bool) {
	t.Helper()
	for {
		if w, ok := c.(interface{ NetConn() net.Conn }); ok {
			c = w.NetConn()
			continue
		}
		rc, err := c.(syscall.Conn).SyscallConn()
		must(t, err)
		rc.Control(func(fd uintptr) {
			v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE)
			on = err == nil && v != 0
		})
		return on
	}
}
