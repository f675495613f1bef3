package tlsconf

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/clienthello"
)

const (
	// handshakeCost is the memory of a handshake besides the client's messages, in bytes: its
	// goroutine's stack, keys, hashes, and our answer.
	handshakeCost = 32 << 10
	// helloCopies is the number of copies of a ClientHello that crypto/tls holds: as a record, as a
	// message, and parsed.
	helloCopies = 4
	// afterHello is the number of bytes that a client may send between its ClientHello and the end
	// of the handshake, besides a second ClientHello. crypto/tls holds two copies of them.
	afterHello = 8 << 10
	// longChain is the number of bytes that a client may send beyond that, for a chain of
	// certificates, if the budget has room for them at once.
	longChain = 64 << 10

	// displaceAfter is the total time that a handshake may wait for its client while other clients
	// wait for a place. It is longer than most round trips.
	displaceAfter = 250 * time.Millisecond
	// yieldAfter is the same for a handshake of an address with blame, while a client of an address
	// without blame waits; see queue.
	yieldAfter = 100 * time.Millisecond
	// displaceEvery is the time between two calls of displace while clients wait.
	displaceEvery = 20 * time.Millisecond

	// maxWait is how long a client may wait for a place where awaitPlace cannot see that its
	// connection's deadline has passed.
	maxWait = 10 * time.Second
	// lookEvery is the time between two looks of awaitPlace whether the client is still there.
	lookEvery = 500 * time.Millisecond

	// minPlaces is the number of handshakes for which any budget has room.
	minPlaces = 16

	defaultHandshakeMemory = 32 << 20 // bytes
)

// ErrProbe reports a connection that ended before its first byte. Load balancers and monitors check
// a port that way.
var ErrProbe = clienthello.ErrProbe

var (
	errDisplaced = errors.New("the client did not go on with its handshake, and other clients waited for its place")
	errTooMuch   = errors.New("the client sent too much within its handshake")
	errNoPlace   = errors.New("other clients took all room for handshakes as long as this one waited")
)

// Handshakes bounds the memory of all TLS handshakes that are in progress at one time. A client
// costs nothing until its whole ClientHello has arrived. Then it waits for a place in the budget;
// see queue for the order. While clients wait, Handshakes ends the handshakes that have waited
// longest for their client's next message. A nil *Handshakes bounds the size of ClientHellos only.
// Its methods are safe for concurrent use.
type Handshakes struct {
	budget int64 // bytes
	charge func(bytes int64)

	probes, displaced atomic.Uint64

	mu      sync.Mutex // guards the fields below
	used    int64      // bytes of the budget
	running map[*Incoming]struct{}
	queue   queue
	ticking bool // a timer will call displace
}

// NewHandshakes returns a bound for the handshakes of a process. memory is the budget in bytes: 32
// MiB if it is 0, and at least enough for a few handshakes. Handshakes calls charge, if not nil,
// with the number of bytes that handshakes take, and a negative number for bytes that they give
// back. charge must not block.
func NewHandshakes(memory int64, charge func(bytes int64)) *Handshakes {
	if memory <= 0 {
		memory = defaultHandshakeMemory
	}
	if charge == nil {
		charge = func(int64) {}
	}
	return &Handshakes{
		budget: max(memory, minPlaces*costOf(clienthello.MaxSize)), charge: charge, running: make(map[*Incoming]struct{}),
	}
}

// HandshakeStats has the present values of Running, Waiting and Bytes, and counts since
// NewHandshakes.
type HandshakeStats struct {
	Running, Waiting int    // handshakes in progress, and clients that wait for a place
	Bytes            int64  // of the budget in use
	Displaced        uint64 // handshakes ended because other clients waited
	Probes           uint64 // connections that ended before their first byte
}

// Stats returns the counts so far.
func (h *Handshakes) Stats() HandshakeStats {
	if h == nil {
		return HandshakeStats{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return HandshakeStats{
		Running: len(h.running), Waiting: h.queue.waiting, Bytes: h.used,
		Displaced: h.displaced.Load(), Probes: h.probes.Load(),
	}
}

// Watch returns c as an Incoming, for tls.Server. c belongs to it from then on.
func (h *Handshakes) Watch(c net.Conn) *Incoming { return &Incoming{Watched: Watched{Conn: c}, h: h} }

// costOf returns the most memory, in bytes, that a handshake with a ClientHello of the given size
// may take.
func costOf(hello int) int64 {
	return handshakeCost + helloCopies*int64(hello) + 2*int64(hello+afterHello)
}

// enter waits for a place. The error is the reason why the client gets none.
func (h *Handshakes) enter(w *Incoming) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queue.waiting == 0 && h.used+w.cost <= h.budget {
		h.takeLocked(w.cost)
	} else {
		waiting := h.queue.add(w.from, w.cost, time.Now())
		h.tickLocked()
		h.mu.Unlock()
		err := w.awaitPlace(waiting.granted)
		h.mu.Lock()
		if err != nil && !waiting.served {
			h.queue.remove(waiting)
			h.serveLocked() // others may need less
			return err
		}
	}
	h.running[w] = struct{}{}
	return nil
}

// leave gives back the place of w, which displace does not end any more. The client's address gets
// blame for a failed handshake, and loses some for one that succeeded.
func (h *Handshakes) leave(w *Incoming, failed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, w)
	h.takeLocked(-w.cost)
	if failed {
		h.queue.blame(w.from, w.waited, time.Now())
	} else {
		h.queue.praise(w.from)
	}
	h.serveLocked()
}

// serveLocked gives places to the first waiters of the queue, as far as there is room.
func (h *Handshakes) serveLocked() {
	for w := h.queue.next(); w != nil && h.used+w.cost <= h.budget; w = h.queue.next() {
		h.queue.remove(w)
		h.takeLocked(w.cost)
		w.served = true
		close(w.granted)
	}
}

// tryGrow takes more bytes for a handshake that has a place. It returns false if other clients wait
// or there is no room.
func (h *Handshakes) tryGrow(more int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queue.waiting > 0 || h.used+more > h.budget {
		return false
	}
	h.takeLocked(more)
	return true
}

func (h *Handshakes) takeLocked(bytes int64) {
	h.used += bytes
	h.charge(bytes)
}

// tickLocked makes a timer call displace soon.
func (h *Handshakes) tickLocked() {
	if !h.ticking {
		h.ticking = true
		time.AfterFunc(displaceEvery, h.displace)
	}
}

// displace ends handshakes that wait for their client, the longest first, to make room for one
// waiter of the queue each.
func (h *Handshakes) displace() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ticking = false
	if h.queue.waiting == 0 {
		return
	}
	h.tickLocked()
	now := time.Now()
	left, blameless := h.queue.waiting, h.queue.blameless()
	for _, s := range h.stuckLocked(now) {
		if left <= 0 || s.waited < displaceAfter && (blameless <= 0 || !h.queue.isBlamed(s.w.from)) {
			continue
		}
		left, blameless = left-1, blameless-1
		h.displaced.Add(1)
		s.w.displaced.Store(true)
		s.w.Conn.SetDeadline(time.Unix(1, 0))
	}
}

// stuck is a handshake that waits for its client.
type stuck struct {
	w      *Incoming
	waited time.Duration // total of all waits so far
}

// stuckLocked returns the handshakes that wait for their client and have done so for at least
// yieldAfter in total, the longest first.
func (h *Handshakes) stuckLocked(now time.Time) (all []stuck) {
	for w := range h.running {
		since := w.since.Load()
		if since == 0 || w.displaced.Load() {
			continue
		}
		if waited := time.Duration(now.UnixNano() - since); waited >= yieldAfter {
			all = append(all, stuck{w, waited})
		}
	}
	slices.SortFunc(all, func(a, b stuck) int { return cmp.Compare(b.waited, a.waited) })
	return all
}

func displacedError(err error) error { return fmt.Errorf("%w (%w)", errDisplaced, err) }
