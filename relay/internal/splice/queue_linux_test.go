package splice

import (
	"io"
	"net"
	"testing"
)

// The last acknowledgement may come between the two calls that ask for the send queue and for the
// state. The connection then passed for one that had broken with bytes in its send queue.
func TestOrderlyEndIsNotTakenForABrokenConnection(t *testing.T) {
	for range 100 {
		far, near := connected(t, "tcp")
		end(t, near, far)
		far.Close()
		near.Close()
		if t.Failed() {
			return
		}
	}
}

// end ends a connection in an orderly way: far first, then near, whose send queue is not empty.
func end(t *testing.T, near, far net.Conn) {
	must(t, far.(*net.TCPConn).CloseWrite())
	must(t, near.(*net.TCPConn).SetWriteBuffer(1<<20))
	_, err := near.Write(make([]byte, 256<<10)) // more than a receive window holds at first
	must(t, err)
	side := NewSide(near)
	side.CloseWrite()
	read := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, struct{ io.Reader }{far})
		read <- err
	}()
	for {
		n, broken := side.sendQueue()
		if broken {
			t.Errorf("broken with %d bytes in its send queue", n)
		}
		if n == 0 || broken {
			break
		}
	}
	must(t, <-read)
}
