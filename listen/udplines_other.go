//go:build !unix

package listen

import "io"

// wait waits for one datagram. It may return 0 and no error.
func (l *udpListener) wait(c *udpConn, p []byte) (int, error) {
	n, from, err := l.socket.ReadFromUDPAddrPort(l.buffer[:maxDatagram])
	if err != nil || n == 0 || !l.guard.admits(from) {
		return 0, err
	}
	return c.appendDatagram(p, 0, n), nil
}

// drain returns io.EOF at once and leaves the socket's buffer unread: here it cannot be read
// without waiting.
func (c *udpConn) drain([]byte) (int, error) { return 0, io.EOF }
