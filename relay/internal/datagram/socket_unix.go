//go:build unix

package datagram

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// packetSocket is a session's socket, connected to its target. It is read without a buffer being held while there is nothing to
// read, and written without waiting. One goroutine may send and one may receive.
type packetSocket struct {
	conn *net.UDPConn
	rc   syscall.RawConn

	readable, writable func(fd uintptr) bool // bound once: binding them for each datagram would allocate

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

// close may be called where there has been no init.
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

// receive waits for a datagram. The caller gives the buffer back to pool.
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

// isRefusal says that the target's machine has answered an earlier datagram with an ICMP error that concerns its address: nobody
// listens, or there is no way.
func isRefusal(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH)
}
