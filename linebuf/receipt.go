package linebuf

import (
	"math/bits"
	"sync/atomic"
)

// MaxGroups is the largest number of groups of targets.
const MaxGroups = 16

// Groups is a set of groups of targets: bit i stands for the group with the index i.
type Groups uint16

// Issuer issues receipts.
type Issuer interface {
	// Released is called once for each group of targets that r was attached for, when all lines of
	// r are confirmed for the group, or dropped and counted. The goroutine that gave up the last
	// hold calls it, without a lock of this package. Released must not wait.
	Released(r *Receipt, group int)
}

// Receipt tells its issuer, for each group of targets, when the lines that it covers are no longer
// needed. Buffers with such lines hold the receipt for the groups that are to get them. The issuer
// embeds it in its own record of the lines.
//
// The issuer of most receipts has the lines itself. That of a watching receipt does not: it only
// waits for them. A buffer may hold receipts of both kinds.
//
// A Receipt is safe for concurrent use; Init is not.
type Receipt struct {
	// Origin marks the first of the lines that the receipt covers, if they have marks that outlast
	// the process. The issuer sets it before it hands out the receipt.
	Origin Mark

	issuer Issuer
	// watching is set if the issuer does not have the lines, but only waits for them; see
	// InitWatching.
	watching bool
	// lost counts the lines that Lose has reported; of a watching receipt.
	lost atomic.Int64
	// holds counts the buffers that hold the receipt for each group. The bit forsaken is set if one
	// of them has called Forsake.
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

// Init makes r a receipt of i that no buffer holds. It must not be called while a buffer may hold
// r.
func (r *Receipt) Init(i Issuer) {
	r.issuer, r.watching = i, false
	for g := range r.holds {
		r.holds[g].Store(0)
	}
}

// InitWatching is Init for an issuer that does not have the lines, and only waits until they are
// released. A buffer with the receipt is not less precious than one without any: at a shutdown the
// lines are in no other place. Such a receipt is not used again for other lines, since Watching may
// have returned it.
func (r *Receipt) InitWatching(i Issuer) {
	r.Init(i)
	r.watching = true
}

// Lost returns how many lines at most, of those that r covers, were dropped and not delivered. It
// is only valid for a receipt of InitWatching. All lines in the buffers count that Lose was called
// for, even those that other receipts cover.
func (r *Receipt) Lost() int { return int(r.lost.Load()) }

// Lose counts lines as lost; see [Buffer.Lose].
func (r *Receipt) Lose(lines int) { r.lost.Add(int64(lines)) }

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

// Attach makes b, which has all lines that r covers, hold r for each of the groups. b is not shared
// yet, or it is a view for one group. A first receipt gives b its origin, unless it only watches.
// Attach undoes Forsake: b takes the place of buffers that have forsaken r for these groups.
func (b *Buffer) Attach(r *Receipt, groups Groups) {
	if groups == 0 {
		return
	}
	if !r.watching && !b.Kept() {
		b.Origin = r.Origin
	}
	r.hold(groups)
	for left := groups; left != 0; left &= left - 1 {
		r.holds[left.first()].And(^forsaken) // after the count has grown: it must not become 0
	}
	b.receipts = append(b.receipts, holding{r, groups})
}

// Watch makes b hold r, a watching receipt, for each of the groups. b has some of the lines that r
// covers. The caller calls Watch for all buffers that r covers before it gives any of them away.
func (b *Buffer) Watch(r *Receipt, groups Groups) {
	if groups != 0 {
		r.hold(groups)
		b.receipts = append(b.receipts, holding{r, groups})
	}
}

// Kept reports whether the issuer of a receipt that b holds has the lines of b, so that b may be
// forgotten once it has forsaken its receipts.
func (b *Buffer) Kept() bool {
	for _, h := range b.receipts {
		if !h.receipt.watching {
			return true
		}
	}
	return false
}

// Watching appends the watching receipts that b holds to all.
func (b *Buffer) Watching(all []*Receipt) []*Receipt {
	for _, h := range b.receipts {
		if h.receipt.watching {
			all = append(all, h.receipt)
		}
	}
	return all
}

// Lose notes that some lines of b are dropped and will not be delivered: the watching receipts that
// b holds count them. The release of the receipts is not affected.
func (b *Buffer) Lose(lines int) {
	for _, h := range b.receipts {
		if h.receipt.watching {
			h.receipt.Lose(lines)
		}
	}
}

// TakeReceipts moves the receipts of from to b, which has the same lines.
func (b *Buffer) TakeReceipts(from *Buffer) {
	for _, h := range from.receipts {
		if b.holdsLast(h) {
			h.receipt.giveUp(h.groups) // b still holds it
		} else {
			b.receipts = append(b.receipts, h)
		}
	}
	from.forget()
}

// holdsLast reports whether the last hold of b is h. Lines that follow one another mostly have the
// same receipt, and one hold is enough.
func (b *Buffer) holdsLast(h holding) bool {
	n := len(b.receipts)
	return n > 0 && b.receipts[n-1] == h
}

// Forsake takes the receipts from b without releasing them, for lines that are neither confirmed
// nor dropped: their issuer keeps them, or they are lost at a shutdown. A forsaken receipt is not
// released for the groups of b, even by other buffers, until the issuer attaches it again.
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

// Return calls Forsake, and then postpone with each receipt that b has held, unless it only
// watches, and the groups for which b has held it.
func (b *Buffer) Return(postpone func(*Receipt, Groups)) {
	var array [1]holding
	held := append(array[:0], b.receipts...)
	b.Forsake()
	for _, h := range held {
		if !h.receipt.watching {
			postpone(h.receipt, h.groups)
		}
	}
}

// Inherit moves the receipts of from, whose lines were copied behind those of b, to b. Lines of two
// buffers have no marks.
func (b *Buffer) Inherit(from *Buffer) {
	b.unmark()
	b.TakeReceipts(from)
}

// HoldLike makes b hold the receipts of like, too, some of whose lines were copied to b. It takes
// the marks from b; see MarkLike.
func (b *Buffer) HoldLike(like *Buffer) {
	b.unmark()
	for _, h := range like.receipts {
		if !b.holdsLast(h) {
			h.receipt.hold(h.groups)
			b.receipts = append(b.receipts, h)
		}
	}
}

// MayInherit reports whether b may get lines of from beside its own. Lines that an issuer has do
// not mix with lines that none has: at a shutdown, the issuer still has the former, but only the
// buffer has the latter. A buffer has one key.
func (b *Buffer) MayInherit(from *Buffer) bool {
	if b.Key != from.Key || b.Kept() != from.Kept() {
		return false
	}
	n := len(b.receipts) + len(from.receipts)
	return n == 0 || int64(n)*bytesPerReceipt <= b.Memory()
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

// forget empties the list of receipts, and keeps its memory for later ones.
func (b *Buffer) forget() {
	clear(b.receipts)
	b.receipts = b.receipts[:0]
}
