package tlsconf

import (
	"errors"
	"time"
)

// ErrWriteTimeout is the error of Read and Write after a Write has taken too long; see
// [Watched.LimitWrites].
var ErrWriteTimeout = errors.New("the peer does not read what TLS has to answer")

// LimitWrites gives each Write a deadline of its own, d after its start. On a connection that the
// caller only reads, TLS itself writes within a Read: a peer that asks for key updates and does not
// read the answers would block the Read for ever. After a Write that exceeds d, Read and Write
// return ErrWriteTimeout, since the stream to the peer is broken.
//
// The caller must not call it at the same time as Read or Write.
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
