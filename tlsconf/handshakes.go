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
	// handshakeCost is what a handshake holds in memory besides the client's messages, in bytes:
	// its goroutine's stack, keys, hashes, and our answer.
	handshakeCost = 32 << 10
	// helloCopies is how often crypto/tls holds a ClientHello: as a record, as a message, and
	// parsed.
	helloCopies = 4
	// afterHello is how much a client may send between its ClientHello and the handshake's end, in
	// bytes, a second ClientHello not counted. It is held twice.
	afterHello = 8 << 10
	// longChain is how much more may come where the budget has room for it at once: a chain of
	// client certificates.
	longChain = 64 << 10

	// displaceAfter is how long in all a handshake may wait for its client while others wait for a
	// place. It is longer than most round trips.
	displaceAfter = 250 * time.Millisecond
	// yieldAfter is the same for a client that has something to its account while a client that has
	// nothing waits.
	yieldAfter    = 100 * time.Millisecond
	displaceEvery = 20 * time.Millisecond

	// maxWait is how long a client may wait for a place where awaitPlace cannot tell that its
	// connection's deadline has passed.
	maxWait = 10 * time.Second
	// lookEvery is how often awaitPlace looks whether the client is still there.
	lookEvery = 500 * time.Millisecond

	// minPlaces is the number of handshakes that have room in any budget.
	minPlaces = 16

	defaultHandshakeMemory = 32 << 20
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
// costs nothing until the whole of its ClientHello has arrived. Then it waits for a place in the
// budget, in the order of queue. While clients wait, handshakes that have waited longest for their
// client's next message are ended. A nil *Handshakes bounds the size of ClientHellos only. Its
// methods are safe for concurrent use.
type Handshakes struct {
	budget int64
	charge func(bytes int64)

	probes, displaced atomic.Uint64

	mu      sync.Mutex // guards the fields below
	used    int64      // bytes
	running map[*Incoming]struct{}
	queue   queue
	ticking bool // displace will be called
}

// NewHandshakes returns a bound for the handshakes of a process. memory is the budget in bytes: 32
// MiB if it is 0, and never less than for a few handshakes. charge, if not nil, is called with what
// handshakes take and, as a negative number, give back; it must not block.
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

// HandshakeStats counts since NewHandshakes, except for the gauges Running, Waiting and Bytes.
type HandshakeStats struct {
	Running, Waiting int
	Bytes            int64
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

// Watch returns c as an Incoming, for tls.Server. Nothing else may read from c.
func (h *Handshakes) Watch(c net.Conn) *Incoming { return &Incoming{Watched: Watched{Conn: c}, h: h} }

// costOf returns what a handshake with a ClientHello of that size may hold in memory.
func costOf(hello int) int64 {
	return handshakeCost + helloCopies*int64(hello) + 2*int64(hello+afterHello)
}

// enter waits for a place. Without one it returns why the wait has ended.
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

// leave gives back what w holds. From then on w is not displaced any more. How the handshake has
// ended goes to the account of the client's address.
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

// serveLocked gives places to those that come first, as far as there is room.
func (h *Handshakes) serveLocked() {
	for w := h.queue.next(); w != nil && h.used+w.cost <= h.budget; w = h.queue.next() {
		h.queue.remove(w)
		h.takeLocked(w.cost)
		w.served = true
		close(w.granted)
	}
}

// tryGrow takes more for a handshake that has a place, unless other clients wait or there is no
// room.
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

func (h *Handshakes) tickLocked() {
	if !h.ticking {
		h.ticking = true
		time.AfterFunc(displaceEvery, h.displace)
	}
}

// displace ends handshakes that wait for their client, the longest first, to make room for all that
// wait.
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

type stuck struct {
	w      *Incoming
	waited time.Duration
}

// stuckLocked returns the handshakes that wait for their client and have done so for yieldAfter,
// the longest first.
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
