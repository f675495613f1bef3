package tlsconf

import (
	"errors"
	"time"
)

// ErrWriteTimeout is returned by the reads and writes of a connection below TLS after a write has
// taken too long; see [Watched.LimitWrites].
var ErrWriteTimeout = errors.New("the peer does not read what TLS has to answer")

// LimitWrites gives each Write a deadline of its own, d after its start. For connections that are
// only read, that is a limit for what TLS answers within a Read: a peer that asks for key updates
// and does not read the answers would block the Read for ever. After a Write that has not been
// finished, Read returns ErrWriteTimeout, for the stream to the peer is broken.
//
// It must not be called at the same time as Read or Write.
func (w *Watched) LimitWrites(d time.Duration) { w.limit = d }

// Write implements [net.Conn].
func (w *Watched) Write(p []byte) (int, error) {
	if w.limit <= 0 {
		return w.Conn.Write(p)
	}
	if w.stuck.Load() {
		return 0, ErrWriteTimeout
	}
	w.SetWriteDeadline(time.Now().Add(w.limit))
	n, err := w.Conn.Write(p)
	if n < len(p) {
		w.stuck.Store(true)
	}
	return n, err
}
