package splitter

import "net"

// gateWidth is the number of connections read through their descriptor, all but TLS, that may be
// between a read and its hand-over at one time. While the channel is full, the others wait before
// they read, without a buffer, except where they have waited for memory. Otherwise a thousand busy
// senders would each hold a buffer, and all buffers would be cold by the time their turn comes:
// docs/performance.md has figures.
const gateWidth = 16

// EnterGate reports whether the connection is in the gate, and lets it in if that needs no waiting.
// It implements [intake.Driver].
func (c *conn) EnterGate() bool {
	if c.inGate {
		return true
	}
	select {
	case c.v.gate <- struct{}{}:
		c.inGate = true
	default:
	}
	return c.inGate
}

// waitAtGate waits until the connection is in the gate. Connections enter first in, first out, so
// that no sender starves.
func (c *conn) waitAtGate() error {
	defer c.resume(c.holdUp())
	select {
	case c.v.gate <- struct{}{}:
		c.inGate = true
		return nil
	case <-c.v.hard.Done():
		return net.ErrClosed
	}
}

// LeaveGate gives the place back. It implements [intake.Driver].
func (c *conn) LeaveGate() {
	if c.inGate {
		<-c.v.gate
		c.inGate = false
	}
}
