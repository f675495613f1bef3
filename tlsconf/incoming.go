package tlsconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"linesplit/internal/clienthello"
)

// Incoming is a connection below a server's *tls.Conn: a Watched whose first Read waits for the
// whole ClientHello, and refuses one that is too large. One goroutine at a time may call Read and
// Handshake.
type Incoming struct {
	Watched
	h *Handshakes // nil: only the size of the ClientHello is bounded

	greeted bool // the ClientHello has arrived
	hello   int  // size of the ClientHello, in bytes

	from    netip.Addr // networkOf the client
	shaking bool       // Handshake has a place
	left    int        // bytes that the client may still send within the handshake
	grown   bool       // grow has raised left
	cost    int64      // bytes of the budget that the place takes

	// waited is the time for which reads and writes within the handshake have waited for the
	// client. During one of them, since is the time at which it began, less waited, in Unix
	// nanoseconds; at any other time it is 0.
	waited    time.Duration
	since     atomic.Int64
	displaced atomic.Bool // displace has ended the handshake
}

// Read implements [net.Conn].
func (w *Incoming) Read(p []byte) (int, error) {
	if !w.greeted {
		if err := w.greet(); err != nil {
			return 0, err
		}
	}
	if w.shaking {
		return w.readWithin(p)
	}
	return w.Watched.Read(p)
}

// greet waits for the ClientHello. It accepts a stream that is not TLS, or breaks the rules of TLS:
// crypto/tls reads that next, and returns a better error.
func (w *Incoming) greet() (err error) {
	w.hello, err = clienthello.Await(w.Conn)
	if errors.Is(err, clienthello.ErrNotTLS) || errors.Is(err, clienthello.ErrMalformed) {
		err = nil
	}
	w.greeted = err == nil
	return err
}

// Handshake does the handshake of t, which runs over w. It waits for the ClientHello until the read
// deadline of w, and then for a place in the budget of Handshakes. The error is ErrProbe if the
// connection ended before its first byte.
func (w *Incoming) Handshake(t *tls.Conn) error {
	if err := w.greet(); err != nil {
		if w.h != nil && errors.Is(err, ErrProbe) {
			w.h.probes.Add(1)
		}
		return err
	}
	if w.h == nil {
		return t.Handshake()
	}
	return w.inPlace(t.Handshake)
}

// inPlace waits for a place, and calls shake, which does the handshake.
func (w *Incoming) inPlace(shake func() error) error {
	w.cost, w.left, w.from = costOf(w.hello), 2*w.hello+afterHello, networkOf(w.Conn)
	if err := w.h.enter(w); err != nil {
		return err
	}
	w.shaking = true
	err := onOwnStack(shake)
	w.shaking = false
	w.h.leave(w, err != nil)
	if err != nil && w.displaced.Load() {
		return displacedError(err)
	}
	return err
}

// onOwnStack calls f on a goroutine of its own: the stack that a handshake needs is several times
// what the connection's goroutine needs afterwards, for as long as the connection lasts.
func onOwnStack(f func() error) error {
	done := make(chan error)
	go func() { done <- f() }()
	return <-done
}

// awaitPlace waits until granted is closed. It returns an error once the client is gone or its time
// is over.
func (w *Incoming) awaitPlace(granted <-chan struct{}) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for began := time.Now(); ; {
		select {
		case <-granted:
			return nil
		case <-look.C:
		}
		if err := clienthello.Lost(w.Conn); err != nil {
			return fmt.Errorf("%w: %w", errNoPlace, err)
		}
		if time.Since(began) > maxWait {
			return fmt.Errorf("%w: %w", errNoPlace, os.ErrDeadlineExceeded)
		}
	}
}

// readWithin is Read within the handshake: it bounds what the client may send.
func (w *Incoming) readWithin(p []byte) (int, error) {
	if w.left == 0 && !w.grow() {
		return 0, errTooMuch
	}
	began := w.beginWait()
	n, err := w.Watched.Read(p[:min(len(p), w.left)])
	w.endWait(began)
	w.left -= n
	return n, err
}

// Write implements [net.Conn].
func (w *Incoming) Write(p []byte) (int, error) {
	if !w.shaking {
		return w.Watched.Write(p)
	}
	began := w.beginWait()
	defer w.endWait(began)
	return w.Watched.Write(p)
}

// beginWait begins a wait for the client, and endWait ends it. All waits of a handshake are added
// up, so that a client cannot gain time by sending a byte now and then.
func (w *Incoming) beginWait() time.Time {
	began := time.Now()
	w.since.Store(began.Add(-w.waited).UnixNano())
	return began
}

func (w *Incoming) endWait(began time.Time) {
	w.since.Store(0)
	w.waited += time.Since(began)
}

// grow makes room for a long chain of certificates, once. It returns false if there is no room.
func (w *Incoming) grow() bool {
	const more = 2 * longChain
	if w.grown || !w.h.tryGrow(more) {
		return false
	}
	w.grown = true
	w.left, w.cost = longChain, w.cost+more
	return true
}
