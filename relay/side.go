package relay

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"time"
)

// side is the connection with the client, or the one with the target.
type side struct {
	conn  net.Conn        // what bytes are read from and written to
	raw   net.Conn        // the socket: conn itself, or what a *tls.Conn runs over
	sys   syscall.RawConn // raw's descriptor; nil where bytes cannot go past conn
	ended interface{ Ended() bool }
}

// newSide looks below nc's wrappers.
func newSide(nc net.Conn) side {
	s := side{conn: nc, raw: nc}
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

// read returns io.EOF only where the other end has said that it has ended. crypto/tls also does where the stream below ends between
// two records, and then anybody on the way may have ended it.
func (s *side) read(b []byte) (int, error) {
	n, err := s.conn.Read(b)
	if err == io.EOF && s.ended != nil && s.ended.Ended() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// closeWrite tells the other end that nothing more will come: by close_notify where there is TLS, and by a FIN.
func (s *side) closeWrite() {
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

// close ends in an orderly way, with close_notify where there is TLS.
func (s *side) close() { s.conn.Close() }

// drop reads what nobody wants until it ends, for no longer than a while.
func (s *side) drop(most time.Duration) {
	s.raw.SetReadDeadline(time.Now().Add(most))
	io.Copy(io.Discard, s.raw)
}

// reset ends so that the other end cannot take it for an orderly end. A Unix socket has no reset: there the other end sees one only if it
// has written what we have not read. Doing it twice, or to no side, does nothing.
func (s *side) reset() {
	if s.raw == nil {
		return
	}
	if t, ok := s.raw.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
	s.raw.Close()
}
