package target

import (
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// diag is the process's netlink socket for questions about TCP sockets. It is opened at the first
// question and stays open.
var diag = netlinkDiag{fd: -1, open: openDiag}

type netlinkDiag struct {
	open func() (fd int, err error)

	mu     sync.Mutex // guards the fields below; held only while the kernel answers, which is at once
	fd     int        // -1: not open
	seq    uint32
	answer [4 << 10]byte
}

// openDiag fails where netlink is forbidden: by seccomp, or RestrictAddressFamilies of systemd.
func openDiag() (int, error) {
	return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
}

func (d *netlinkDiag) openLocked() error {
	if d.fd >= 0 {
		return nil
	}
	fd, err := d.open()
	if err == nil {
		d.fd = fd
	}
	return err
}

// sharesNamespace reports whether questions are about the network namespace of the socket. Before
// Linux 5.14 the kernel does not tell; linesplit then takes it for granted, since it never changes
// its namespace.
func (d *netlinkDiag) sharesNamespace(sys syscall.RawConn) (same bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.openLocked() != nil {
		return false
	}
	err := sys.Control(func(fd uintptr) {
		ours, err := unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		if errors.Is(err, unix.ENOPROTOOPT) {
			same = true
			return
		}
		theirs, err2 := unix.GetsockoptUint64(d.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		same = err == nil && err2 == nil && ours == theirs
	})
	return same && err == nil
}

var errNoAnswer = errors.New("no answer from the kernel")

// ask sends a request and copies the beginning of its answer. The kernel answers within the write;
// an answer to an earlier request, which was not read, is skipped.
func (d *netlinkDiag) ask(request *[diagRequestSize]byte, answer *[diagAnswerSize]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.openLocked(); err != nil {
		return err
	}
	d.seq++
	ne.PutUint32(request[8:], d.seq)
	if _, err := unix.Write(d.fd, request[:]); err != nil {
		return err
	}
	for {
		n, err := unix.Read(d.fd, d.answer[:])
		if err != nil {
			return err
		}
		if n < 16 || ne.Uint32(d.answer[8:]) != d.seq {
			continue
		}
		switch {
		case ne.Uint16(d.answer[4:]) == unix.NLMSG_ERROR && n >= 20:
			if errno := -int32(ne.Uint32(d.answer[16:])); errno > 0 {
				return unix.Errno(errno)
			}
			return errNoAnswer
		case ne.Uint16(d.answer[4:]) != unix.SOCK_DIAG_BY_FAMILY || n < diagAnswerSize:
			return errNoAnswer
		}
		copy(answer[:], d.answer[:])
		return nil
	}
}
