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
	displaceEvery = 50 * time.Millisecond

	// minPlaces is the number of handshakes that have room in any budget.
	minPlaces = 16

	defaultHandshakeMemory = 32 << 20
)

var (
	errDisplaced = errors.New("the client did not go on with its handshake, and other clients waited for its place")
	errTooMuch   = errors.New("the client sent too much within its handshake")
)

// Handshakes bounds the memory of all TLS handshakes that are in progress at one time. A client
// costs nothing until the whole of its ClientHello has arrived. Then it waits, first in, first out,
// for a place in the budget. While clients wait, handshakes that have waited longest for their
// client's next message are ended. A nil *Handshakes bounds the size of ClientHellos only. Its
// methods are safe for concurrent use.
type Handshakes struct {
	budget int64
	charge func(bytes int64)

	probes, displaced atomic.Uint64

	mu      sync.Mutex // guards the fields below
	used    int64      // bytes
	running map[*Incoming]struct{}
	waiting []*waiter // the first has waited longest
	ticking bool      // displace will be called
}

type waiter struct {
	cost    int64
	granted chan struct{} // closed once the cost is part of Handshakes.used
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
		budget: max(memory, minPlaces*costOf(maxHello)), charge: charge, running: make(map[*Incoming]struct{}),
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
		Running: len(h.running), Waiting: len(h.waiting), Bytes: h.used,
		Displaced: h.displaced.Load(), Probes: h.probes.Load(),
	}
}

// Watch returns c as an Incoming, for tls.Server. Nothing else may read from c.
func (h *Handshakes) Watch(c net.Conn) *Incoming { return &Incoming{Watched: Watched{Conn: c}, h: h} }

// costOf returns what a handshake with a ClientHello of that size may hold in memory.
func costOf(hello int) int64 {
	return handshakeCost + helloCopies*int64(hello) + 2*int64(hello+afterHello)
}

// enter waits for a place of that cost. The wait ends: either handshakes end, or displace ends
// them.
func (h *Handshakes) enter(w *Incoming, cost int64) {
	h.mu.Lock()
	if len(h.waiting) == 0 && h.used+cost <= h.budget {
		h.takeLocked(cost)
	} else {
		waiting := &waiter{cost, make(chan struct{})}
		h.waiting = append(h.waiting, waiting)
		h.tickLocked()
		h.mu.Unlock()
		<-waiting.granted
		h.mu.Lock()
	}
	defer h.mu.Unlock()
	h.running[w] = struct{}{}
}

// leave gives back what w holds. From then on w is not displaced any more.
func (h *Handshakes) leave(w *Incoming, cost int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, w)
	h.takeLocked(-cost)
	for len(h.waiting) > 0 && h.used+h.waiting[0].cost <= h.budget {
		h.takeLocked(h.waiting[0].cost)
		close(h.waiting[0].granted)
		h.waiting = slices.Delete(h.waiting, 0, 1)
	}
}

// tryGrow takes more for a handshake that has a place, unless other clients wait or there is no
// room.
func (h *Handshakes) tryGrow(more int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) > 0 || h.used+more > h.budget {
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
	if len(h.waiting) == 0 {
		return
	}
	h.tickLocked()
	before := time.Now().Add(-displaceAfter).UnixNano()
	type waits struct {
		w     *Incoming
		since int64
	}
	var stuck []waits
	for w := range h.running {
		if since := w.since.Load(); since != 0 && since < before && !w.displaced.Load() {
			stuck = append(stuck, waits{w, since})
		}
	}
	slices.SortFunc(stuck, func(a, b waits) int { return cmp.Compare(a.since, b.since) })
	for _, s := range stuck[:min(len(stuck), len(h.waiting))] {
		h.displaced.Add(1)
		s.w.displaced.Store(true)
		s.w.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func displacedError(err error) error { return fmt.Errorf("%w (%w)", errDisplaced, err) }
