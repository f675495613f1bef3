package loop

import (
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Connect begins to connect a new TCP socket and adopts it. h is called when the connect has
// succeeded or failed: FD.ConnectError tells. It is not called if Connect returns an error. The
// address must have no zone, or a number as its zone. The caller limits the time. Before it writes
// a second time, it calls FD.NoDelay.
//
// talks says that the caller will write as soon as the connect has succeeded. Its first bytes then
// acknowledge the peer's SYN, too, which saves a packet. The caller calls FD.Acknowledge once it
// has read something.
func (l *Loop) Connect(d *FD, a netip.AddrPort, talks bool, h Handler) error {
	var s sockaddr
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	if !s.set(a) {
		return fmt.Errorf("connect to %s: the zone must be a number", a)
	}
	return l.connect(d, &s, talks, h)
}

// ConnectUnix is Connect for a Unix socket, a path or an abstract name such as @name. While the
// listener's backlog is full it returns unix.EAGAIN.
func (l *Loop) ConnectUnix(d *FD, path string, h Handler) error {
	var s sockaddr
	if !s.setUnix(path) {
		return os.NewSyscallError("connect", unix.EINVAL)
	}
	return l.connect(d, &s, false, h)
}

func (l *Loop) connect(d *FD, s *sockaddr, talks bool, h Handler) error {
	const flags = unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(s.raw.Addr.Family), flags, 0)
	if errno != 0 {
		return os.NewSyscallError("socket", errno)
	}
	KeepUrgent(int(fd))
	if talks {
		SetOption(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	}
	_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&s.raw)), uintptr(s.size))
	if errno != 0 && errno != unix.EINPROGRESS && errno != unix.EINTR { // after EINTR it goes on, too
		Close(int(fd))
		return os.NewSyscallError("connect", errno)
	}
	if err := l.Adopt(d, int(fd), h); err != nil {
		Close(int(fd))
		return err
	}
	return nil
}

// NoDelay sets TCP_NODELAY: the kernel no longer holds back a small write while an earlier one is
// unacknowledged.
func (d *FD) NoDelay() { SetOption(int(d.fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// Acknowledge undoes talks of Loop.Connect: the kernel acknowledges what has come, and for a while
// also what comes next, at once, as it does at the beginning of any other connection. Without it, a
// peer that answers in two small writes, without TCP_NODELAY, would send the second one only when
// the kernel acknowledges the first, after 40 ms.
func (d *FD) Acknowledge() { SetOption(int(d.fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
