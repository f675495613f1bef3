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
// talks says that the caller will write as soon as the connect has succeeded, and then call
// FD.AckAtOnce. Its first bytes acknowledge the peer's SYN, too, which saves a packet. If it writes
// nothing, the kernel acknowledges the SYN within 200 ms.
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

// AckAtOnce lets the kernel acknowledge without delay what has come and what comes next, as it does
// on its own at first. After talks it would wait 40 ms for bytes to send with the acknowledgement,
// and for as long, a peer without TCP_NODELAY would keep back the second of two small writes.
// Another write before the answer ends the effect.
func (d *FD) AckAtOnce() { SetOption(int(d.fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
