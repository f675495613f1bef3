package linebuf

import (
	"math/bits"
	"sync/atomic"
)

// MaxGroups is the largest number of groups of targets.
const MaxGroups = 16

// Groups is a set of groups of targets: bit i stands for the group with the index i.
type Groups uint16

// Issuer gives out receipts.
type Issuer interface {
	// Released tells that the group with an index needs no line of r any more: each is confirmed,
	// or given up and counted. It is called once for each group, by the goroutine that gave up the
	// last hold, with no lock of this package held. It must not wait.
	Released(r *Receipt, group int)
}

// Receipt tells its issuer, for each group of targets, when no line that it covers is needed any
// more. Buffers with such lines hold the receipt for the groups that they are for. The issuer
// embeds it in its own record of the lines.
//
// A Receipt is safe for concurrent use; Init is not.
type Receipt struct {
	issuer Issuer
	// holds counts the buffers that hold the receipt for each group. The bit forsaken is set if
	// one of them has given up its lines without a word; see Buffer.Forsake.
	holds [MaxGroups]atomic.Int32
}

// forsaken keeps a group's count from becoming 0.
const forsaken = 1 << 30

// holding is a receipt that a buffer holds for some groups.
type holding struct {
	receipt *Receipt
	groups  Groups
}

// bytesPerReceipt is how many bytes of memory a buffer has at least for each receipt that it holds,
// if it has got lines from several buffers. A receipt with its issuer's record takes about as much,
// and no budget counts that.
const bytesPerReceipt = 128

// Init makes r a receipt of i that nothing holds. A receipt that buffers may hold must not be made
// new.
func (r *Receipt) Init(i Issuer) {
	r.issuer = i
	for g := range r.holds {
		r.holds[g].Store(0)
	}
}

// hold counts one more buffer for each of the groups.
func (r *Receipt) hold(groups Groups) {
	for ; groups != 0; groups &= groups - 1 {
		r.holds[groups.first()].Add(1)
	}
}

// giveUp counts one buffer less for each of the groups. The last one tells the issuer.
func (r *Receipt) giveUp(groups Groups) {
	for ; groups != 0; groups &= groups - 1 {
		g := groups.first()
		switch n := r.holds[g].Add(-1); {
		case n == 0:
			r.issuer.Released(r, g)
		case n < 0:
			panic("linebuf: a receipt was given up that was not held")
		}
	}
}

// first returns the lowest index in a set that is not empty.
func (g Groups) first() int { return bits.TrailingZeros16(uint16(g)) }

// Attach makes b hold r for each of the groups. b has all lines that r covers. It is not shared
// yet, or it is a view for the one group. For a group for which buffers have forsaken r, b takes
// their place.
func (b *Buffer) Attach(r *Receipt, groups Groups) {
	if groups == 0 {
		return
	}
	r.hold(groups)
	for left := groups; left != 0; left &= left - 1 {
		r.holds[left.first()].And(^forsaken) // after the count has grown: it must not become 0
	}
	b.receipts = append(b.receipts, holding{r, groups})
}

// Receipts reports whether b holds any.
func (b *Buffer) Receipts() bool { return len(b.receipts) > 0 }

// Forsake makes b hold no receipt any more, as if it had lost its lines: none of its receipts is
// released for the groups of b, whatever other buffers do, before their issuer attaches it anew.
// Lines that are neither confirmed nor counted as dropped are forsaken, and their issuer still has
// them.
func (b *Buffer) Forsake() {
	for _, h := range b.receipts {
		for left := h.groups; left != 0; left &= left - 1 {
			n := &h.receipt.holds[left.first()]
			n.Or(forsaken)
			n.Add(-1)
		}
	}
	b.forget()
}

// Inherit makes b hold what from has held, whose lines were copied to b.
func (b *Buffer) Inherit(from *Buffer) {
	if len(from.receipts) > 0 {
		b.receipts = append(b.receipts, from.receipts...)
		from.forget()
	}
}

// HoldLike makes b hold what like holds, some of whose lines were copied to b.
func (b *Buffer) HoldLike(like *Buffer) {
	if len(like.receipts) == 0 {
		return
	}
	for _, h := range like.receipts {
		h.receipt.hold(h.groups)
	}
	b.receipts = append(b.receipts, like.receipts...)
}

// MayInherit reports whether b may get lines of from beside its own. Lines with a receipt do not
// mix with lines without one: at a shutdown, the issuer has the ones, and nothing but the buffer
// has the others.
func (b *Buffer) MayInherit(from *Buffer) bool {
	n, more := len(b.receipts), len(from.receipts)
	if n == 0 || more == 0 {
		return n == more
	}
	return int64(n+more)*bytesPerReceipt <= b.Memory()
}

// release gives up all that b holds.
func (b *Buffer) release() {
	for _, h := range b.receipts {
		h.receipt.giveUp(h.groups)
	}
	b.forget()
}

// divide hands each hold of b over to the view of its group, and gives up those of groups that have
// no view.
func (b *Buffer) divide(views []*Buffer) {
	for _, h := range b.receipts {
		for left := h.groups; left != 0; left &= left - 1 {
			if g := left.first(); g < len(views) {
				views[g].receipts = append(views[g].receipts, holding{h.receipt, 1 << g})
			} else {
				h.receipt.giveUp(1 << g)
			}
		}
	}
	b.forget()
}

// forget empties the list of receipts. Its memory is used again.
func (b *Buffer) forget() {
	clear(b.receipts)
	b.receipts = b.receipts[:0]
}
