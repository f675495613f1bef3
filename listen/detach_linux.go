package listen

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/loop"
)

// detached is the descriptor of a listening socket that the Go runtime no longer watches, since an
// event loop accepts its connections. The zero value has none.
type detached struct {
	mu   sync.Mutex
	fd   int
	open bool // fd is open
	was  bool // there has been a descriptor
}

// detach takes the socket out of the runtime's poller.
func (d *detached) detach(ln interface {
	net.Listener
	syscall.Conn
}) (fd int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fd, err := loop.Detach(ln)
	if err != nil {
		return -1, false
	}
	d.fd, d.open, d.was = fd, true, true
	return fd, true
}

// control calls do with the descriptor. It returns false if there has never been one.
func (d *detached) control(do func(fd int) error) (was bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		return true, do(d.fd)
	}
	return d.was, net.ErrClosed
}

// close closes the descriptor. It returns false if there has never been one.
func (d *detached) close() (was bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		loop.Close(d.fd)
	}
	d.open = false
	return d.was
}

// Detach takes the listening socket out of the Go runtime's poller, for an event loop that accepts
// its connections by itself. It returns the non-blocking descriptor, which still belongs to the
// listener: Close closes it, and Accept fails from now on. The caller resets connections whose peer
// is not admitted. Accepted sockets inherit the options that Accept would have set. ok is false,
// and nothing has changed, if the listener does more than accept: TLS, or PROXY headers.
func (l *namedListener) Detach() (fd int, admits func(netip.AddrPort) bool, ok bool) {
	if _, plain := l.deadlineListener.(*tcpListener); !plain || l.config != nil {
		return -1, nil, false
	}
	if fd, ok = l.detached.detach(l.socket); !ok {
		return -1, nil, false
	}
	for _, o := range [][3]int{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveIdle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveInterval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	} {
		loop.SetOption(fd, o[0], o[1], o[2])
	}
	return fd, l.guard.admits, true
}

// Detach is as for TCP. All peers are admitted.
func (l *unixListener) Detach() (fd int, admits func(netip.AddrPort) bool, ok bool) {
	fd, ok = l.detached.detach(l.UnixListener)
	return fd, nil, ok
}
