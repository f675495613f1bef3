package listen

import (
	"net"
	"sync"

	"linesplit/internal/udpdrops"
)

// DatagramCounts tells what a udp:// listener may have lost without having seen it.
type DatagramCounts struct {
	// Dropped counts the datagrams that the kernel has dropped since the socket was opened, most of
	// all because the receive buffer was full. Only Linux counts them.
	Dropped uint64
	// Asked and Granted are the sizes of the receive buffer in bytes. Asked is 0 for a socket of
	// systemd, which has the size of its unit.
	Asked, Granted int
}

// Datagrams returns the counts of what Open, OpenPacket or Inherited has returned for a udp://
// listener, also after it was closed; ok is false for any other listener. It is safe for concurrent
// use.
func Datagrams(listener any) (counts DatagramCounts, ok bool) {
	l, ok := listener.(interface{ datagrams() DatagramCounts })
	if !ok {
		return DatagramCounts{}, false
	}
	return l.datagrams(), true
}

// datagramCounter counts what the kernel drops at a socket.
type datagramCounter struct {
	socket         *net.UDPConn
	asked, granted int

	mu      sync.Mutex // guards the fields below
	last    uint32     // the kernel's count, which wraps
	total   uint64
	stopped bool // another listener counts what is dropped at the socket
}

// newDatagramCounter takes the size of the receive buffer that was asked for, 0 for none. It counts
// from now on.
func newDatagramCounter(socket *net.UDPConn, asked int) *datagramCounter {
	c := &datagramCounter{socket: socket, asked: asked, granted: receiveBufferOf(socket)}
	c.last, _ = udpdrops.Count(socket)
	return c
}

// stop counts for the last time.
func (c *datagramCounter) stop() {
	c.datagrams()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}

func (c *datagramCounter) datagrams() DatagramCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, ok := udpdrops.Count(c.socket); ok && !c.stopped {
		c.total += uint64(now - c.last)
		c.last = now
	}
	return DatagramCounts{Dropped: c.total, Asked: c.asked, Granted: c.granted}
}

// close closes the socket, after a last look.
func (c *datagramCounter) close() error {
	c.datagrams()
	return c.socket.Close()
}
