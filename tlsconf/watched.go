package tlsconf

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Watched is a connection below a *tls.Conn that remembers whether its stream has ended. crypto/tls
// returns io.EOF both when the peer has announced its end by close_notify and when the stream ends
// between two records, which anything on the path can cause (RFC 8446, 6.1).
type Watched struct {
	net.Conn
	ended atomic.Bool
	limit time.Duration // of a Write; 0 for none
	stuck atomic.Bool   // a Write has exceeded limit

	only    bool // Read takes what has arrived, see ReadArrived
	mayWait bool // the next Read may wait though only is set
	drained bool // the last Read got less than it had room for
	now     readNow
}

// Watch returns c as a Watched, to which c belongs from then on.
func Watch(c net.Conn) *Watched { return &Watched{Conn: c} }

// Read implements [net.Conn].
func (w *Watched) Read(p []byte) (int, error) {
	if w.stuck.Load() {
		return 0, ErrWriteTimeout
	}
	n, err := w.read(p)
	if err == io.EOF {
		w.ended.Store(true)
	}
	return n, err
}

func (w *Watched) read(p []byte) (int, error) {
	if w.only {
		return w.readArrived(p)
	}
	n, err := w.Conn.Read(p)
	w.drained = n < len(p)
	return n, err
}

// Ended reports whether a Read has reached the end of the stream. It is safe for concurrent use.
func (w *Watched) Ended() bool { return w.ended.Load() }

// NetConn returns the underlying connection.
func (w *Watched) NetConn() net.Conn { return w.Conn }
