package urgent

import (
	"io"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rawConn(t *testing.T, c any) syscall.RawConn {
	t.Helper()
	rc, err := c.(syscall.Conn).SyscallConn()
	must(t, err)
	return rc
}

// pair returns both ends of a connection. The listener has the option.
func pair(t *testing.T, network, address string) (near, far net.Conn) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), network, address)
	must(t, err)
	defer ln.Close()
	must(t, Inline(rawConn(t, ln)))
	near, err = net.Dial(network, ln.Addr().String())
	must(t, err)
	t.Cleanup(func() { near.Close() })
	far, err = ln.Accept()
	must(t, err)
	t.Cleanup(func() { far.Close() })
	return near, far
}

func isInline(t *testing.T, c net.Conn) (on bool) {
	t.Helper()
	rawConn(t, c).Control(func(fd uintptr) {
		v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE)
		must(t, err)
		on = v != 0
	})
	return on
}

func TestUrgentDataStaysInTheStream(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		near, far := pair(t, network, address)
		if inherited := isInline(t, far); inherited != (network == "tcp") {
			t.Errorf("%s: inherited: %v", network, inherited)
		}
		must(t, Inline(rawConn(t, far)))
		if !isInline(t, far) {
			t.Errorf("%s: it is not set", network)
		}
		var err error
		rawConn(t, near).Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("one\n"), unix.MSG_OOB, nil) })
		if network == "unix" && err == unix.EOPNOTSUPP { // before Linux 5.15
			continue
		}
		must(t, err)
		io.WriteString(near, "two\n")
		near.Close()
		if got, err := io.ReadAll(far); string(got) != "one\ntwo\n" || err != nil {
			t.Errorf("%s: read %q, %v", network, got, err)
		}
	}
}
