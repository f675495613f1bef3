//go:build unix

package datagram

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// packetSocket is a session's socket, connected to its target. Receiving holds no buffer while
// there is nothing to read, and sending does not block. One goroutine may send while another
// receives.
type packetSocket struct {
	conn *net.UDPConn
	rc   syscall.RawConn

	readable, writable func(fd uintptr) bool // bound once, since binding them for each datagram would allocate

	out     []byte
	sendErr error

	pool       *sync.Pool
	in         *[]byte
	n          int
	receiveErr error
}

func (s *packetSocket) init(conn *net.UDPConn) error {
	rc, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	s.conn, s.rc = conn, rc
	s.readable, s.writable = s.receiveNow, s.sendNow
	return nil
}

// close closes the socket if init has been called.
func (s *packetSocket) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

func (s *packetSocket) send(b []byte) error {
	s.out = b
	if err := s.rc.Write(s.writable); err != nil {
		return err
	}
	return s.sendErr
}

func (s *packetSocket) sendNow(fd uintptr) bool {
	s.sendErr = unix.Send(int(fd), s.out, 0)
	s.out = nil
	return true
}

// receive waits for a datagram. The caller returns the buffer to pool.
func (s *packetSocket) receive(pool *sync.Pool) (b *[]byte, n int, err error) {
	s.pool = pool
	if err := s.rc.Read(s.readable); err != nil {
		return nil, 0, err
	}
	b, s.in = s.in, nil
	return b, s.n, s.receiveErr
}

func (s *packetSocket) receiveNow(fd uintptr) bool {
	b := s.pool.Get().(*[]byte)
	for {
		s.n, s.receiveErr = unix.Read(int(fd), *b)
		switch s.receiveErr {
		case unix.EINTR:
		case nil:
			s.in = b
			return true
		default:
			s.pool.Put(b)
			return s.receiveErr != unix.EAGAIN
		}
	}
}

// isRefusal reports whether err is an ICMP error about an earlier datagram that concerns the
// target's address: no socket is open there, or there is no route.
func isRefusal(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH)
}
