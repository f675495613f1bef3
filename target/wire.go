package target

import (
	"net"
	"sync"
	"time"
)

// wire is the net.Conn under a tls.Conn. During the handshake it is the socket itself. Afterwards
// what TLS writes goes into memory, for the connection's writing goroutine to send, and what TLS
// reads passes through c, which sees the socket's FIN and errors: TLS's own end of stream proves
// nothing.
type wire struct {
	net.Conn
	c *Conn

	mu      sync.Mutex // TLS may also write while it reads: key updates, alerts
	stored  bool
	out     []byte
	through uint64 // bytes that TLS has ever written
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stored {
		w.through += uint64(len(p))
		w.out = append(w.out, p...)
		return len(p), nil
	}
	n, err := w.Conn.Write(p)
	w.through += uint64(n)
	w.c.sent.Add(uint64(n))
	return n, err
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.c.sawEnd(err)
	}
	return n, err
}

// SetWriteDeadline of tls.Conn.CloseWrite must not reach the socket, whose deadlines belong to
// the writing goroutine.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stored {
		return nil
	}
	return w.Conn.SetWriteDeadline(t)
}

// store ends the handshake's direct way.
func (w *wire) store() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored = true
}

func (w *wire) position() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.through
}

// take hands the stored bytes over; giveBack returns their memory.
func (w *wire) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.out
	w.out = nil
	return out
}

func (w *wire) giveBack(out []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(out[:0], w.out...)
}
