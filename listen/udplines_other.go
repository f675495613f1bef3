//go:build !unix

package listen

import "io"

// wait waits for one datagram. It may return 0 and no error.
func (l *udpListener) wait(c *udpConn, p []byte) (int, error) {
	n, from, err := l.socket.ReadFromUDPAddrPort(l.buffer[:maxDatagram])
	if err != nil || n == 0 || !l.guard.admits(from) {
		return 0, err
	}
	return c.put(p, 0, n), nil
}

// drain leaves what is in the socket's buffer: here nothing tells without waiting whether there is anything.
func (c *udpConn) drain([]byte) (int, error) { return 0, io.EOF }
