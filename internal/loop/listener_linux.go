package loop

import (
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// acceptsPerTurn is how many connections a listener accepts before other handlers have their
	// turn.
	acceptsPerTurn = 32

	// Delays between attempts while accepting fails, for lack of descriptors for example.
	firstRetry = 5 * time.Millisecond
	lastRetry  = time.Second
)

// Acceptor takes the connections of a Listener. Its methods are called on the listener's loop.
type Acceptor interface {
	// Accepted takes over a new connection's descriptor, non-blocking and not inherited by
	// programs. The peer's address is not valid if the socket is a Unix socket. Accepted may adopt
	// the descriptor into any loop: Group.Least knows a good one.
	Accepted(fd int, peer netip.AddrPort)
	// AcceptFailed is called for each failure. The listener tries again after a while.
	AcceptFailed(err error)
}

// Listener accepts connections on a loop. The zero value is ready for Loop.Listen. Its methods may
// be called only on its loop's goroutine.
type Listener struct {
	fd      FD
	to      Acceptor
	retry   Timer         // accepts again after a failure
	delay   time.Duration // of the last retry; 0 after a success
	paused  bool          // see Pause
	pending bool          // the backlog may hold connections
	last    lastCall
}

// Listen accepts connections from a listening socket, which is non-blocking. The descriptor belongs
// to the loop from now on. If Listen returns an error, it is still the caller's. Several loops may
// listen to one socket, each with a descriptor of its own: the kernel wakes one that waits.
func (l *Loop) Listen(ln *Listener, fd int, to Acceptor) error {
	ln.to, ln.pending = to, true
	ln.retry.Do = ln.fd.Again
	return l.adopt(&ln.fd, fd, ln, listenEvents)
}

// Ready accepts connections. The loop calls it.
func (ln *Listener) Ready(l *Loop, ev Events) {
	ln.pending = ln.pending || ev&Readable != 0
	for range acceptsPerTurn {
		if !ln.pending || ln.paused || ln.retry.Running() || !ln.fd.IsOpen() { // the Acceptor may pause or close
			return
		}
		ln.acceptOne(l)
	}
	ln.fd.Again()
}

func (ln *Listener) acceptOne(l *Loop) {
	fd, peer, errno := accept(ln.fd.Int())
	switch errno {
	case 0:
		ln.delay = 0
		ln.pending = readable(ln.fd.Int()) // a connection that comes later is another event
		ln.last.accepted(l)
		ln.to.Accepted(fd, peer)
	case unix.EAGAIN:
		ln.pending = false
	case unix.EINTR, unix.ECONNABORTED, unix.EPROTO: // of one connection only
	default:
		ln.pending = true
		ln.delay = min(max(firstRetry, 2*ln.delay), lastRetry)
		l.Start(&ln.retry, ln.delay)
		ln.to.AcceptFailed(os.NewSyscallError("accept4", errno))
	}
}

// Pause leaves further connections in the kernel's backlog.
func (ln *Listener) Pause() { ln.paused = true }

// Resume undoes Pause.
func (ln *Listener) Resume() {
	ln.paused = false
	ln.fd.Again()
}

// LastCall accepts what is in the backlog, also after Pause or a failure, since a peer whose
// connect has succeeded expects to be served. It calls done once no connection has come for
// backlogWait or, after maxBacklog, none is there, and at the latest after maxEmptying.
func (ln *Listener) LastCall(done func()) {
	ln.paused = false
	ln.fd.loop.Stop(&ln.retry)
	ln.fd.Again()
	ln.last.begin(ln, done)
}

// Close closes the descriptor. Connections in the backlog are reset, unless the socket has other
// descriptors. In that case the kernel would go on to report events for this one, and wake this
// loop in place of one that accepts: it is taken off the loop first.
func (ln *Listener) Close() {
	ln.stopTimers()
	if ln.fd.IsOpen() {
		Close(ln.fd.Release())
	}
}

// Release ends accepting and returns the socket, still listening. The caller closes it.
func (ln *Listener) Release() int {
	ln.stopTimers()
	return ln.fd.Release()
}

func (ln *Listener) stopTimers() {
	if l := ln.fd.loop; l != nil {
		l.Stop(&ln.retry)
		ln.last.stop(l)
	}
}

// accept is accept4(2). The peer's address is not valid for a Unix socket.
func accept(listener int) (fd int, peer netip.AddrPort, errno unix.Errno) {
	s := sockaddr{size: unix.SizeofSockaddrAny}
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&s.raw)),
		uintptr(unsafe.Pointer(&s.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(n), s.addrPort(), 0
}

// The same as in internal/accept, for goroutines that accept.
const (
	backlogWait = 10 * time.Millisecond
	maxBacklog  = 250 * time.Millisecond
	maxEmptying = 2 * time.Second
)

// lastCall is the end of accepting.
type lastCall struct {
	quiet Timer // ends it if the backlog is empty
	began time.Time
}

// begin looks at the backlog before it calls done: on a busy machine, the loop may have had no time
// to accept what is in it.
func (c *lastCall) begin(ln *Listener, done func()) {
	l := ln.fd.loop
	c.began = time.Now()
	c.quiet.Do = func() {
		if ln.backlogged() && time.Since(c.began) < maxEmptying {
			ln.pending = true
			ln.fd.Again()
			l.Start(&c.quiet, backlogWait)
			return
		}
		done()
	}
	l.Start(&c.quiet, backlogWait)
}

// accepted is called for each connection.
func (c *lastCall) accepted(l *Loop) {
	if c.quiet.Running() && time.Since(c.began) < maxBacklog {
		l.Start(&c.quiet, backlogWait)
	}
}

func (c *lastCall) stop(l *Loop) { l.Stop(&c.quiet) }

// backlogged reports whether there are connections that can be accepted now.
func (ln *Listener) backlogged() bool {
	return !ln.paused && !ln.retry.Running() && ln.fd.IsOpen() && readable(ln.fd.Int())
}
