package loop

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxEvents is the maximum number of events taken from the kernel at once.
const maxEvents = 256

// wakeFD marks the events of the poller's eventfd.
const wakeFD = -1

// poller is an epoll instance with an eventfd that ends its waits. Events carry the descriptor and
// the generation of its registration.
type poller struct {
	epfd, wakefd int
	events       []unix.EpollEvent
}

func (p *poller) open() (err error) {
	p.events = make([]unix.EpollEvent, maxEvents)
	if p.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if p.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		Close(p.epfd)
		return os.NewSyscallError("eventfd", err)
	}
	// Edges: each write is one, so the count in the eventfd need not be read.
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: wakeFD}
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, p.wakefd, &e); err != nil {
		p.close()
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

func (p *poller) close() {
	Close(p.epfd)
	Close(p.wakefd)
}

const (
	allEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET
	// listenEvents wake one of the loops that wait, where several accept from one socket.
	listenEvents = unix.EPOLLIN | unix.EPOLLET | unix.EPOLLEXCLUSIVE
)

// add registers a descriptor for events.
func (p *poller) add(fd int, gen, events uint32) error {
	e := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(gen)}
	if errno := p.control(unix.EPOLL_CTL_ADD, fd, &e); errno != 0 {
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return nil
}

// remove undoes add for a descriptor that stays open, or whose socket does under another one.
// Closing the last one removes it, too.
func (p *poller) remove(fd int) { p.control(unix.EPOLL_CTL_DEL, fd, nil) }

func (p *poller) control(op, fd int, e *unix.EpollEvent) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.epfd), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(e)), 0, 0)
	return errno
}

// interrupt ends a wait. Any goroutine may call it.
func (p *poller) interrupt() {
	one := uint64(1)
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(p.wakefd), uintptr(unsafe.Pointer(&one)), 8)
		if errno != unix.EINTR {
			return
		}
	}
}

// outcome names how a wait ended.
type outcome int

const (
	gotEvents outcome = iota
	waitedInVain
	interrupted // by a signal
)

// forever is a limit that never comes.
const forever = time.Duration(1<<63 - 1)

// poll waits for at most the given time without telling the scheduler. It returns the number of
// events, which are the first ones of p.events.
func (p *poller) poll(limit time.Duration) (int, outcome) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), milliseconds(limit), 0, 0)
	return p.result(n, errno)
}

// block is poll in an ordinary system call, so that other goroutines get the processor meanwhile.
func (p *poller) block(limit time.Duration) (int, outcome) {
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), milliseconds(limit), 0, 0)
	return p.result(n, errno)
}

// milliseconds returns d as a timeout for epoll, rounded up.
func milliseconds(d time.Duration) uintptr {
	if d == forever {
		return ^uintptr(0)
	}
	return uintptr(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
}

func (p *poller) result(n uintptr, errno unix.Errno) (int, outcome) {
	switch {
	case errno != 0:
		return 0, interrupted
	case n == 0:
		return 0, waitedInVain
	}
	return int(n), gotEvents
}
