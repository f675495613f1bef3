package splitter

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/tlsconf"
)

// A TLS sender that ended in order got no close_notify back, and reported an error although all of
// its lines had arrived: Python raised UNEXPECTED_EOF, OpenSSL "unexpected eof while reading".
func TestTLSSendersCloseNotifyIsAnswered(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, listenTLS(t), plenty, Options{})
			c := dialTLS(t, r.addr, version)
			write(t, c, "a line\nthe last")
			if err := c.CloseWrite(); err != nil { // close_notify, and no FIN
				t.Fatal(err)
			}
			c.NetConn().SetDeadline(time.Now().Add(wait))
			record, err := io.ReadAll(c.NetConn())
			if err != nil {
				t.Errorf("below its TLS the sender reads %v", err)
			}
			const alert, applicationData = 21, 23 // TLS 1.3 hides the type of an encrypted record
			if len(record) == 0 || record[0] != alert && record[0] != applicationData {
				t.Errorf("the sender got %x, want one record with close_notify", record)
			}
			r.wants("a line\nthe last\n")
			r.end()
		})
	}
}

// A stream that ends without close_notify is not answered: nothing shows that the sender ended it.
func TestTLSEndWithoutCloseNotifyIsNotAnswered(t *testing.T) {
	ln := &tlsOver{listenTLS(t).(*tlsListener), func(nc net.Conn) net.Conn { return tlsconf.Watch(nc) }}
	r := newRig(t, ln, plenty, Options{})
	c := dialTLS(t, r.addr, tls.VersionTLS13)
	write(t, c, "a line\n")
	raw := c.NetConn().(*net.TCPConn)
	raw.CloseWrite()
	raw.SetDeadline(time.Now().Add(wait))
	if got, err := io.ReadAll(raw); err != nil || len(got) > 0 {
		t.Errorf("the sender got %x, %v; want an end", got, err)
	}
	r.wants("a line\n")
	r.end()
}

// A sender that has filled our send buffer, by key updates whose answers it does not read, must not
// keep its goroutine.
func TestAnswerToCloseNotifyIsBounded(t *testing.T) {
	var stuck atomic.Bool
	ln := &tlsOver{listenTLS(t).(*tlsListener), func(nc net.Conn) net.Conn {
		return &stuckConn{Conn: nc, stuck: &stuck, closed: make(chan struct{})}
	}}
	r := newRig(t, ln, plenty, Options{})
	c := dialTLS(t, r.addr, tls.VersionTLS13)
	write(t, c, "a line\n")
	r.wants("a line\n")
	stuck.Store(true)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.until("the end", func() bool { return r.Stats().Connections == 0 })
	r.end()
}

// tlsOver is a listener whose TLS runs over connections that below makes.
type tlsOver struct {
	*tlsListener
	below func(net.Conn) net.Conn
}

func (l *tlsOver) Accept() (net.Conn, error) {
	nc, err := l.TCPListener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(l.below(nc), l.config), nil
}

// stuckConn is a connection whose writes block until it is closed, while stuck is true.
type stuckConn struct {
	net.Conn
	stuck  *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (s *stuckConn) Write(b []byte) (int, error) {
	if s.stuck.Load() {
		<-s.closed
		return 0, net.ErrClosed
	}
	return s.Conn.Write(b)
}

func (s *stuckConn) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}
