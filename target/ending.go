package target

import (
	"errors"
	"syscall"
	"time"
)

// ending records how a connection came to its end.
type ending struct {
	closeNotify bool   // TLS has ended: the peer's close_notify or a TLS error
	fin         bool   // the peer's FIN came
	closed      bool   // after the FIN, the socket reached state CLOSE
	err         error  // why the connection failed
	said        []byte // beginning of the first thing that the peer said
	finFirst    bool   // the peer's FIN had come when we half-closed
	afterOurs   bool   // the peer's FIN came after ours
	seemedRead  bool   // everything seemed read when we half-closed
	asked       bool   // close_notify has gone out behind the peer's FIN; see knowRefusedLocked
}

// allReadLocked decides whether everything acknowledged was also read. Over TCP only an orderly end
// of both directions proves that: a FIN that answers ours, or a FIN that came first when everything
// seemed read as we sent ours, from a peer that with TLS took our close_notify after that. A FIN
// followed by a RST should mean that the peer closed with everything read; but a run under heavy
// load lost lines that way, and duplicates are the smaller evil.
func (c *Conn) allReadLocked() bool {
	e := &c.end
	switch {
	case !countsKept:
		return e.fin && e.afterOurs && e.err == nil
	case c.unix:
		return true // over a Unix socket, acknowledged means read
	case e.err != nil || !e.fin || !c.halfClosed || c.ackedWire < c.sent.Load():
		return false
	case e.afterOurs:
		return true
	case c.secure != nil && !e.asked: // lines may still be in the peer's TLS
		return false
	}
	return e.closed && e.seemedRead && c.provableLocked()
}

// CloseWrite ends our direction after everything written: it sends close_notify, if it can go out
// without waiting, and a FIN. The peer may go on reading; Progress reports when it has answered.
//
// Behind the peer's FIN, close_notify is a question, too: a peer that has only half-closed takes
// it, while a process that has exited, or closed its socket, answers with a RST. See
// knowRefusedLocked. The question is not asked while the peer does not seem to have read
// everything, since the answer would not help.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	c.countLocked(time.Now())
	e := &c.end
	e.seemedRead = c.seemsReadLocked()
	e.finFirst = e.fin || c.counts.peerFIN
	asking := e.finFirst && e.seemedRead && c.ackedWire >= c.sent.Load()
	parting := c.secure != nil && (!e.finFirst || asking && countsKept)
	c.sendingCloseNotify = parting
	c.mu.Unlock()
	sent := parting && c.sendCloseNotify()
	c.mu.Lock()
	if parting && !sent { // a FIN that came meanwhile did not answer anything
		e.afterOurs = false
	}
	e.asked = sent && asking
	c.sendingCloseNotify, c.halfClosed = false, true
	c.mu.Unlock()
	hc, ok := c.raw.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return hc.CloseWrite()
}

// errNoRoom ends the write of close_notify on a socket that takes no more.
var errNoRoom = errors.New("no room in the send buffer")

// sendCloseNotify reports whether close_notify has gone out. It does not wait for room in the send
// buffer, because the FIN follows.
func (c *Conn) sendCloseNotify() bool {
	return c.secure.CloseWrite() == nil && c.flush(func() error { return errNoRoom }) == nil
}

// knowRefusedLocked takes a RST that answers our close_notify for the answer of a closed socket. It
// was closed with nothing unread, or a RST would have come in place of the FIN. But the process may
// have closed it with lines in its TLS that it had not taken from there.
func (c *Conn) knowRefusedLocked() {
	reset := errors.Is(c.end.err, syscall.ECONNRESET) || errors.Is(c.end.err, syscall.EPIPE)
	if c.end.asked && reset && c.provableLocked() {
		c.known = max(c.known, c.readAtLocked(less(c.ackedWire, slackTLS)))
	}
}

// provableLocked reports whether it means something that everything seems read: there is evidence,
// and no proxy in between that reads.
func (c *Conn) provableLocked() bool { return !c.viaProxy && (c.estimate.known || c.known > 0) }
