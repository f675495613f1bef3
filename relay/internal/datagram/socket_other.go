//go:build !unix

package datagram

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// packetSocket is a session's socket, connected to its target. One goroutine may send while another
// receives.
type packetSocket struct{ conn *net.UDPConn }

func (s *packetSocket) init(conn *net.UDPConn) error {
	s.conn = conn
	return nil
}

// close closes the socket if init has been called.
func (s *packetSocket) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

func (s *packetSocket) send(b []byte) error {
	_, err := s.conn.Write(b)
	return err
}

// receive waits for a datagram and holds a buffer meanwhile. The caller returns the buffer to pool.
func (s *packetSocket) receive(pool *sync.Pool) (b *[]byte, n int, err error) {
	b = pool.Get().(*[]byte)
	if n, err = s.conn.Read(*b); err != nil {
		pool.Put(b)
		return nil, 0, err
	}
	return b, n, nil
}

// isRefusal reports whether err means that no socket is open at the target's address.
func isRefusal(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}
