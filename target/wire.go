package target

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// wire is the net.Conn below a tls.Conn. During the handshake it passes everything to the socket.
// Afterwards it stores what TLS writes, for the connection's writing goroutine to send, and reports
// the socket's FIN and errors to c as TLS reads: TLS's own end of stream proves nothing.
type wire struct {
	net.Conn
	c *Conn

	mu      sync.Mutex // guards the fields below; TLS also writes while it reads: key updates, alerts
	stored  bool       // writes go into out
	out     []byte     // bytes to send
	through uint64     // bytes that TLS has written since the start
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
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // the handshake's end has a deadline
		w.c.sawEnd(err)
	}
	return n, err
}

// SetWriteDeadline keeps tls.Conn.CloseWrite from changing the deadlines of the socket, which
// belong to the writing goroutine.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stored {
		return nil
	}
	return w.Conn.SetWriteDeadline(t)
}

// store ends the handshake: from now on writes are stored.
func (w *wire) store() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stored = true
}

// position returns how many bytes TLS has written.
func (w *wire) position() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.through
}

// take returns the stored bytes; giveBack returns their memory to w.
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
