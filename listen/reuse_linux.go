package listen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sharePort lets other processes listen on the same port.
func sharePort(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); failed != nil {
		return failed
	}
	return os.NewSyscallError("share the port", err)
}

// errTried stops a test of a port before it listens.
var errTried = errors.New("tried")

// tryPort lets Go prepare a listener up to the bind, binds it, and goes no further.
func tryPort(ctx context.Context, network, address string) error {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	lc.Control = func(network, address string, c syscall.RawConn) error {
		return cmp.Or(sharePort(network, address, c), bindOnly(network, address, c), errTried)
	}
	if _, err := lc.Listen(ctx, network, address); !errors.Is(err, errTried) {
		return err
	}
	return nil
}

func bindOnly(network, address string, c syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || addr.Addr().Zone() != "" {
		return nil // only opening it can tell
	}
	port, ip := int(addr.Port()), addr.Addr()
	var sockaddr unix.Sockaddr
	switch {
	case network == "tcp4":
		sockaddr = &unix.SockaddrInet4{Port: port, Addr: ip.As4()}
	case ip.IsUnspecified():
		sockaddr = &unix.SockaddrInet6{Port: port}
	default:
		sockaddr = &unix.SockaddrInet6{Port: port, Addr: ip.As16()}
	}
	if failed := c.Control(func(fd uintptr) { err = unix.Bind(int(fd), sockaddr) }); failed != nil {
		return failed
	}
	return os.NewSyscallError("bind", err)
}

// stepAside attaches a filter to the group of sockets that share a port. The filter returns 1, the
// index of the second oldest socket. If there is none, the kernel chooses as without a filter.
// (SO_ATTACH_REUSEPORT_CBPF, socket(7); Linux 4.5.)
func stepAside(ln *net.TCPListener) error { return onGroup(ln, stepAsideFD) }

func stepAsideFD(fd int) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 1}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// undoStepAside removes the filter of a predecessor, which outlives its process.
func undoStepAside(ln *net.TCPListener) error {
	err := onGroup(ln, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	})
	if errors.Is(err, unix.ENOENT) { // there is no filter
		return nil
	}
	return err
}

func onGroup(ln *net.TCPListener, do func(fd int) error) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("set the reuse-port filter of %s: %w", ln.Addr(), err)
	}
	return nil
}
