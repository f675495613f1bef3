//go:build !unix

package datagram

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// packetSocket is a session's socket, connected to its target. One goroutine may send and one may receive.
type packetSocket struct{ conn *net.UDPConn }

func (s *packetSocket) init(conn *net.UDPConn) error {
	s.conn = conn
	return nil
}

// close may be called where there has been no init.
func (s *packetSocket) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

func (s *packetSocket) send(b []byte) error {
	_, err := s.conn.Write(b)
	return err
}

// receive waits for a datagram, with a buffer in its hand. The caller gives it back to pool.
func (s *packetSocket) receive(pool *sync.Pool) (b *[]byte, n int, err error) {
	b = pool.Get().(*[]byte)
	if n, err = s.conn.Read(*b); err != nil {
		pool.Put(b)
		return nil, 0, err
	}
	return b, n, nil
}

// isRefusal says that nobody listens at the target.
func isRefusal(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}
