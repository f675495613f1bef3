package listen

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are sent to it.
type pipes struct{ come, closing chan net.Conn }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.come:
		return conn, nil
	case <-p.closing:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closing); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A client that had connected before the end, and whose ClientHello was on its way, was reset,
// where a listener without a Router would have served it.
func TestHelloOnItsWayAtTheEndIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &pipes{make(chan net.Conn), make(chan net.Conn)}
		r := NewRouter(ln, nil)
		l, err := r.Add(Wanted{Rest: AllRest}, nil)
		must(t, err)
		r.Start()
		connect := func(after time.Duration) {
			near, far := net.Pipe()
			ln.come <- far
			go func() {
				defer near.Close()
				time.Sleep(after)
				tls.Client(near, &tls.Config{ServerName: "a.example"}).Handshake()
			}()
			synctest.Wait()
		}
		connect(overdueAfter - time.Millisecond)
		must(t, l.SetDeadline(past))
		far, err := l.Accept()
		must(t, err)
		far.Close()

		connect(time.Hour)
		began := time.Now()
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > overdueAfter+10*time.Millisecond {
			t.Errorf("a silent client: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) > 0 {
			t.Errorf("a client that is overdue: %v after %v", err, time.Since(began))
		}
		must(t, l.Close())
		time.Sleep(2 * time.Hour)
	})
}
