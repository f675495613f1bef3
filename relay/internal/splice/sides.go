package splice

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"linesplit/internal/accept"
)

// Side is the connection with the client or the one with the target. The zero value has no
// connection, and Reset does nothing for it.
type Side struct {
	conn  net.Conn                  // reads and writes the bytes
	raw   net.Conn                  // the socket: conn itself, or the connection below a *tls.Conn
	sys   syscall.RawConn           // descriptor of raw; nil if bytes must go through conn
	ended interface{ Ended() bool } // whether the stream below the TLS has ended; nil if unknown
}

// secureConn is a *tls.Conn, or a wrapper of one through which its bytes must pass.
type secureConn interface {
	net.Conn
	ConnectionState() tls.ConnectionState
}

// NewSide returns the Side of nc. It unwraps nc by its NetConn methods down to the socket.
func NewSide(nc net.Conn) Side {
	s := Side{conn: nc, raw: nc}
	secure := false
	for {
		switch c := s.raw.(type) {
		case *net.TCPConn, *net.UnixConn:
			if !secure {
				s.conn, s.sys = c, descriptor(c)
			}
			return s
		case secureConn:
			secure = true
			s.conn = c
		}
		below, ok := s.raw.(interface{ NetConn() net.Conn })
		if !ok {
			return s
		}
		s.raw = below.NetConn()
		if e, ok := s.raw.(interface{ Ended() bool }); ok && secure {
			s.ended = e
		}
	}
}

// Bare is a *net.TCPConn or a *net.UnixConn.
type Bare interface {
	net.Conn
	syscall.Conn
}

// Bare returns the socket if bytes can go through it directly, and else nil.
func (s *Side) Bare() Bare {
	switch c := s.conn.(type) {
	case *net.TCPConn:
		return c
	case *net.UnixConn:
		return c
	}
	return nil
}

// Handshake does the TLS handshake as a server, within limit. It does nothing for a plain
// connection.
func (s *Side) Handshake(limit time.Duration) error {
	t, ok := s.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	s.raw.SetDeadline(time.Now().Add(limit))
	if err := accept.Handshake(t); err != nil {
		return err
	}
	s.raw.SetDeadline(time.Time{})
	return nil
}

// ServerName returns the name that a client has asked for in the handshake, or "".
func (s *Side) ServerName() string {
	if t, ok := s.conn.(secureConn); ok {
		return t.ConnectionState().ServerName
	}
	return ""
}

// read returns io.EOF only if the peer has announced its end. crypto/tls also returns it if the
// stream below ends between two records, but then anything on the path may have ended the stream.
func (s *Side) read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	if err == io.EOF && s.ended != nil && s.ended.Ended() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// CloseWrite tells the peer that no more bytes will come: by close_notify with TLS, and by a FIN.
// crypto/tls gives up a close_notify that the socket does not take within 5 s, and the peer would
// take its stream for a truncated one. So CloseWrite first waits until there is room, or until the
// side is interrupted.
func (s *Side) CloseWrite() {
	if s.conn != s.raw {
		if !s.awaitRoom() {
			return
		}
		closeWrite(s.conn)
	}
	closeWrite(s.raw)
}

func closeWrite(nc net.Conn) {
	if w, ok := nc.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
}

// Close ends the connection in an orderly way, with close_notify if it is TLS.
func (s *Side) Close() { s.conn.Close() }

// CloseSocket ends the connection in an orderly way, without close_notify.
func (s *Side) CloseSocket() { s.raw.Close() }

// Discard reads and discards bytes until limit has passed. It returns true if the peer ends before.
func (s *Side) Discard(limit time.Duration) (ended bool) {
	s.raw.SetReadDeadline(time.Now().Add(limit))
	_, err := io.Copy(io.Discard, s.raw)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// longAgo is a deadline that interrupts reading or writing at once.
var longAgo = time.Unix(1, 0)

// Interrupt makes reads and writes fail from now on. The socket stays open, so that its queue can
// still be counted. Interrupt does nothing for the zero Side.
func (s *Side) Interrupt() {
	if s.raw != nil {
		s.raw.SetDeadline(longAgo)
	}
}

// InterruptReading makes reads fail from now on. It does nothing for the zero Side.
func (s *Side) InterruptReading() {
	if s.raw != nil {
		s.raw.SetReadDeadline(longAgo)
	}
}

// Reset ends the connection so that the peer cannot take it for an orderly end. A Unix socket has
// no reset: its peer sees one only if it has written bytes that were not read here. A second call,
// or one for the zero Side, does nothing.
func (s *Side) Reset() {
	if s.raw == nil {
		return
	}
	if t, ok := s.raw.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
	s.raw.Close()
}
