package httpsource

import (
	"math/bits"
	"sync/atomic"

	"linesplit/linebuf"
)

// pending is the lines of one request on their way. It is the issuer of the receipt that their
// buffers hold, and complete once all groups have released it. It outlives the request, as long as
// there are such buffers.
//
// A receipt that buffers have forsaken, at a shutdown, is never released: its request is answered
// as one whose lines are not confirmed.
type pending struct {
	linebuf.Receipt
	complete chan struct{} // closed then
	left     atomic.Int32  // groups that have not released it
	state    atomic.Int32
	overdue  *atomic.Int64 // of the Server
	bytes    int64
}

// The states of a pending.
const (
	awaited   = iota // a client waits
	abandoned        // none does any more; counted as overdue
	completed
)

// newPending gives all buffers the receipt of a new pending, for each of the groups.
func newPending(buffers []*linebuf.Buffer, groups linebuf.Groups, overdue *atomic.Int64) *pending {
	p := &pending{complete: make(chan struct{}), overdue: overdue}
	p.left.Store(int32(bits.OnesCount16(uint16(groups))))
	p.InitWatching(p)
	for _, b := range buffers {
		b.Watch(&p.Receipt, groups)
		p.bytes += int64(len(b.B))
	}
	return p
}

// Released implements linebuf.Issuer.
func (p *pending) Released(*linebuf.Receipt, int) {
	if p.left.Add(-1) > 0 {
		return
	}
	if p.state.Swap(completed) == abandoned {
		p.overdue.Add(-p.bytes)
	}
	close(p.complete)
}

// abandon notes that no client waits any more.
func (p *pending) abandon() {
	p.overdue.Add(p.bytes)
	if !p.state.CompareAndSwap(awaited, abandoned) {
		p.overdue.Add(-p.bytes)
	}
}

// isComplete reports whether all groups have released the receipt.
func (p *pending) isComplete() bool { return p.state.Load() == completed }
