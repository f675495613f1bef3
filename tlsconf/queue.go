package tlsconf

import (
	"container/heap"
	"container/list"
	"net"
	"net/netip"
	"time"

	"linesplit/internal/clientlimit"
)

const (
	// blameLasts is how long an address has its blame after its last failed handshake.
	blameLasts = time.Minute
	// maxBlame is the most blame for one failed handshake.
	maxBlame = displaceAfter
	// maxBlamed is the largest number of addresses with blame.
	maxBlamed = 16384
)

// queue holds the clients that wait for a place. Each address has a blame: the time for which its
// failed handshakes have waited for their clients, less an allowance for those that succeeded. The
// address with the least blame comes first, and of its clients the newest, which is most likely to
// be still there. So clients that do not go on with their handshakes wait behind clients of other
// addresses, however many they are and however often they come back.
//
// A queue is not safe for concurrent use.
type queue struct {
	origins map[netip.Addr]*origin // by clientlimit.Network; those with blame or with waiters
	order   originHeap             // the origins with waiters
	waiting int                    // number of all waiters
	added   uint64                 // number of waiters ever added
}

// origin is an address with its blame and its waiters.
type origin struct {
	at      netip.Addr
	blame   time.Duration
	blamed  time.Time // when blame was raised last
	waiters list.List // of *waiter; the first is the newest
	index   int       // in queue.order; -1 without waiters
}

// waiter is a client that waits for a place.
type waiter struct {
	from    *origin
	cost    int64         // bytes of the budget
	number  uint64        // the waiter with a higher number is newer
	place   *list.Element // in origin.waiters
	granted chan struct{} // closed once the cost is part of Handshakes.used
	served  bool          // granted is closed
}

// add adds a waiter of an address, and returns it.
func (q *queue) add(from netip.Addr, cost int64, now time.Time) *waiter {
	o := q.origin(from)
	o.forgive(now)
	q.added++
	q.waiting++
	w := &waiter{from: o, cost: cost, number: q.added, granted: make(chan struct{})}
	w.place = o.waiters.PushFront(w)
	if o.index < 0 {
		heap.Push(&q.order, o)
	} else {
		heap.Fix(&q.order, o.index)
	}
	return w
}

// next returns the waiter that comes first, or nil if there is none.
func (q *queue) next() *waiter {
	if len(q.order) == 0 {
		return nil
	}
	return q.order[0].newest()
}

// remove takes a waiter out.
func (q *queue) remove(w *waiter) {
	o := w.from
	q.waiting--
	o.waiters.Remove(w.place)
	if o.waiters.Len() > 0 {
		heap.Fix(&q.order, o.index)
		return
	}
	heap.Remove(&q.order, o.index)
	if o.blame == 0 {
		delete(q.origins, o.at)
	}
}

// blame adds the time for which a failed handshake has waited for its client to the blame of the
// client's address.
func (q *queue) blame(from netip.Addr, waited time.Duration, now time.Time) {
	if waited <= 0 {
		return
	}
	if q.origins[from] == nil && !q.makeRoom(now) {
		return
	}
	o := q.origin(from)
	o.forgive(now)
	o.blame, o.blamed = o.blame+min(waited, maxBlame), now
	if o.index >= 0 {
		heap.Fix(&q.order, o.index)
	}
}

// praise takes off the blame of an address, for a handshake that has succeeded, as much as a failed
// one adds at most: now and then, a slow machine or network makes a good client fail.
func (q *queue) praise(from netip.Addr) {
	o := q.origins[from]
	if o == nil || o.blame == 0 {
		return
	}
	o.blame = max(0, o.blame-maxBlame)
	switch {
	case o.index >= 0:
		heap.Fix(&q.order, o.index)
	case o.blame == 0:
		delete(q.origins, from)
	}
}

// isBlamed reports whether an address has blame.
func (q *queue) isBlamed(from netip.Addr) bool {
	return q.origins[from] != nil && q.origins[from].blame > 0
}

// blameless returns the number of waiters of addresses without blame.
func (q *queue) blameless() (n int) {
	for _, o := range q.order {
		if o.blame == 0 {
			n += o.waiters.Len()
		}
	}
	return n
}

// origin returns the origin of an address, and makes it if there is none.
func (q *queue) origin(at netip.Addr) *origin {
	o := q.origins[at]
	if o == nil {
		if q.origins == nil {
			q.origins = make(map[netip.Addr]*origin)
		}
		o = &origin{at: at, index: -1}
		q.origins[at] = o
	}
	return o
}

// makeRoom forgets some origins whose blame is over, or any blamed ones if there are too many. It
// reports whether there is room for one more.
func (q *queue) makeRoom(now time.Time) bool {
	const looks = 8 // origins to look at, in random order, so that this takes no longer with many
	looked := 0
	for at, o := range q.origins {
		if looked++; looked > looks {
			break
		}
		if o.index < 0 && (len(q.origins) >= maxBlamed || now.Sub(o.blamed) > blameLasts) {
			delete(q.origins, at)
		}
	}
	return len(q.origins) < maxBlamed
}

// forgive clears the blame if its time is over. The caller then puts o in its place in queue.order.
func (o *origin) forgive(now time.Time) {
	if o.blame > 0 && now.Sub(o.blamed) > blameLasts {
		o.blame = 0
	}
}

func (o *origin) newest() *waiter { return o.waiters.Front().Value.(*waiter) }

// networkOf returns the part of the peer's address that the peer cannot choose, or the zero Addr if
// the peer has no TCP address.
func networkOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return clientlimit.Network(a.AddrPort().Addr())
	}
	return netip.Addr{}
}

// originHeap is a heap of the origins with waiters, in the order in which they are served.
type originHeap []*origin

// Len implements [heap.Interface].
func (h originHeap) Len() int { return len(h) }

// Less implements [heap.Interface].
func (h originHeap) Less(i, j int) bool {
	if h[i].blame != h[j].blame {
		return h[i].blame < h[j].blame
	}
	return h[i].newest().number > h[j].newest().number
}

// Swap implements [heap.Interface].
func (h originHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *originHeap) Push(x any) {
	o := x.(*origin)
	o.index = len(*h)
	*h = append(*h, o)
}

// Pop implements [heap.Interface].
func (h *originHeap) Pop() any {
	last := len(*h) - 1
	o := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	o.index = -1
	return o
}
