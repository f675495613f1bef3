//go:build unix

package listen

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"linesplit/internal/accept"
	"linesplit/internal/testcert"
)

// dup returns a copy of the descriptor, which f does not close.
func dup(f *os.File) (uintptr, error) {
	fd, err := syscall.Dup(int(f.Fd()))
	return uintptr(fd), err
}

// handDown makes files from sockets, as a service manager does, and closes the sockets, so that
// only the files are left.
func handDown(t *testing.T, sockets map[string]any) *Inherited {
	t.Helper()
	var files []*os.File
	for name, socket := range sockets {
		f, err := socket.(interface{ File() (*os.File, error) }).File()
		must(t, err)
		fd, err := dup(f)
		must(t, err)
		files = append(files, os.NewFile(fd, name))
		f.Close()
		socket.(interface{ Close() error }).Close()
	}
	h := NewInherited(files)
	t.Cleanup(func() { h.Close() })
	return h
}

func TestInheritedSocketsServe(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	path := filepath.Join(t.TempDir(), "a.sock")
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	unix.SetUnlinkOnClose(false)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	h := handDown(t, map[string]any{"unix": unix, "plain": plain, "secure": secure, "datagrams": datagrams})

	open := func(value, name string) net.Listener {
		t.Helper()
		all, _, err := h.Open(mustParse(t, value), certs.ServerTLS(), nil, false)
		must(t, err)
		if len(all) != 1 || accept.Name(all[0]) != name {
			t.Fatalf("%s: %v", value, all)
		}
		t.Cleanup(func() { all[0].Close() })
		return all[0]
	}
	exchangeOver := func(ln net.Listener) {
		t.Helper()
		near, far := connect(t, ln)
		exchange(t, near, far)
	}
	exchangeOver(open("systemd:plain", "tcp://"+plain.Addr().String()))
	exchangeOver(open("systemd:unix", "unix://"+path))
	near, far := connect(t, open("systemd:secure?tls=true", "tls://"+secure.Addr().String()))
	exchange(t, tls.Client(near, certs.ClientTLS()), far)

	_, _, err = h.Open(mustParse(t, "systemd:plain"), nil, nil, false)
	if err == nil || !strings.Contains(err.Error(), "there is systemd:datagrams") {
		t.Errorf("the same again: %v", err)
	}
	lines, packets, err := h.Open(mustParse(t, "systemd:"), nil, nil, true)
	must(t, err)
	if len(lines) != 0 || len(packets) != 1 || packets[0].LocalAddr().String() != datagrams.LocalAddr().String() {
		t.Errorf("the rest: %v, %v", lines, packets)
	}
	packets[0].Close()
	must(t, h.Close())
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the service manager's socket file was removed: %v", err)
	}
}

func TestUnusedInheritedSocketIsAnError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h := handDown(t, map[string]any{"forgotten": ln})
	if err := h.Close(); err == nil || !strings.Contains(err.Error(), "systemd:forgotten") {
		t.Errorf("Close = %v", err)
	}
	if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		conn.Close()
		t.Error("still listening")
	}
}

func TestInheritedSocketsOfWrongKinds(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	for value, h := range map[string]*Inherited{
		"systemd:":          {},
		"systemd:x":         NewInherited([]*os.File{r}),
		"systemd:?tls=true": handDown(t, map[string]any{"u": mustListen(t, "udp")}),
	} {
		if all, packets, err := h.Open(mustParse(t, value), &tls.Config{}, nil, true); err == nil {
			t.Errorf("%s: %v, %v", value, all, packets)
		}
		h.Close()
	}
}

func mustListen(t *testing.T, network string) any {
	t.Helper()
	pc, err := net.ListenPacket(network, "127.0.0.1:0")
	must(t, err)
	return pc
}

func TestInheritedSocketsAreShared(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "a.sock"), Net: "unix"})
	must(t, err)
	h := handDown(t, map[string]any{"tcp": tcp, "unix": unix})
	routers, err := h.OpenRouters(mustParse(t, "systemd:tcp?tls=true"), nil, nil)
	must(t, err)
	l, err := routers[0].Add(Wanted{Rest: AllRest}, nil)
	must(t, err)
	defer l.Close()
	routers[0].Start()
	near, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer near.Close()
	go tls.Client(near, &tls.Config{ServerName: "a.example"}).Handshake()
	far, err := l.Accept()
	must(t, err)
	far.Close()
	if _, err := h.OpenRouters(mustParse(t, "systemd:unix?tls=true"), nil, nil); err == nil || !strings.Contains(err.Error(), "TLS needs a TCP socket") {
		t.Errorf("a Unix socket with TLS: %v", err)
	}
}
