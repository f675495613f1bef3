package splice

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"time"
)

// Side is the connection with the client, or the one with the target. The zero value is none: Reset does nothing with it.
type Side struct {
	conn  net.Conn        // what bytes are read from and written to
	raw   net.Conn        // the socket: conn itself, or what a *tls.Conn runs over
	sys   syscall.RawConn // raw's descriptor; nil where bytes cannot go past conn
	ended interface{ Ended() bool }
}

// NewSide looks below nc's wrappers.
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
		case *tls.Conn:
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

// Handshake shakes hands as a TLS server, within most. It does nothing for a plain connection.
func (s *Side) Handshake(most time.Duration) error {
	t, ok := s.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	s.raw.SetDeadline(time.Now().Add(most))
	if err := t.Handshake(); err != nil {
		return err
	}
	s.raw.SetDeadline(time.Time{})
	return nil
}

// read returns io.EOF only where the other end has said that it has ended. crypto/tls also does where the stream below ends between
// two records, and then anybody on the way may have ended it.
func (s *Side) read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	if err == io.EOF && s.ended != nil && s.ended.Ended() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// CloseWrite tells the other end that nothing more will come: by close_notify where there is TLS, and by a FIN.
func (s *Side) CloseWrite() {
	if s.conn != s.raw {
		closeWrite(s.conn)
	}
	closeWrite(s.raw)
}

func closeWrite(nc net.Conn) {
	if w, ok := nc.(interface{ CloseWrite() error }); ok {
		w.CloseWrite()
	}
}

// Close ends in an orderly way, with close_notify where there is TLS.
func (s *Side) Close() { s.conn.Close() }

// CloseSocket ends in an orderly way, without a close_notify.
func (s *Side) CloseSocket() { s.raw.Close() }

// Drop reads what nobody wants until it ends, for no longer than a while.
func (s *Side) Drop(most time.Duration) {
	s.raw.SetReadDeadline(time.Now().Add(most))
	io.Copy(io.Discard, s.raw)
}

// Reset ends so that the other end cannot take it for an orderly end. A Unix socket has no reset: there the other end sees one only if it
// has written what we have not read. Doing it twice, or to no side, does nothing.
func (s *Side) Reset() {
	if s.raw == nil {
		return
	}
	if t, ok := s.raw.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
	s.raw.Close()
}
