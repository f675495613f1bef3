package linebuf

import (
	"sync/atomic"

	"linesplit/internal/framing"
)

// Account counts the memory of the buffers that one receiver holds, in bytes. The zero value is
// ready to use. An Account is safe for concurrent use.
type Account struct{ held atomic.Int64 }

// Held returns the present count.
func (a *Account) Held() int64 { return a.held.Load() }

// maxViews limits the number of free views that a pool keeps.
const maxViews = 1 << 14

// Share makes a view of b for each of the accounts, and appends the views to views. A view is a
// buffer with the content of b, whose receiver owns it and puts it back. The caller gives up b. The
// views share its memory, which goes back to the pool with the last of them. Until then the content
// must not change, so a view has no room to append to: cap(view.B) is len(view.B). Each account is
// charged for all of the memory, since any receiver may be the last one to hold it.
//
// View i takes over the receipts that b holds for group i. Receipts for groups without a view are
// released.
func (p *Pool) Share(b *Buffer, accounts []*Account, views []*Buffer) []*Buffer {
	first := len(views)
	views = p.makeViews(b, accounts, views)
	if len(b.receipts) > 0 {
		b.divide(views[first:])
	}
	return views
}

// makeViews is Share without the receipts.
func (p *Pool) makeViews(b *Buffer, accounts []*Account, views []*Buffer) []*Buffer {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	if b.free || b.base != nil || b.views > 0 {
		panic("linebuf: a buffer was shared that is free, or shared already")
	}
	b.views = len(accounts)
	for _, a := range accounts {
		v := p.freeViews
		if v == nil {
			v = new(Buffer)
		} else {
			p.freeViews, v.next = v.next, nil
			p.nViews--
		}
		v.B, v.Lines, v.Read, v.Framing, v.Key = b.B[:len(b.B):len(b.B)], b.Lines, b.Read, b.Framing, b.Key
		v.Origin, v.Batch, v.runs = b.Origin, b.Batch, b.runs
		v.base, v.account, v.free = b, a, false
		a.held.Add(int64(len(b.store)))
		views = append(views, v)
	}
	return views
}

// Shared reports whether b is a view that Share has made, whose content must not change.
func (b *Buffer) Shared() bool { return b.base != nil }

// Charged reports whether the memory of b is charged to an account. That of every view is.
func (b *Buffer) Charged() bool { return b.account != nil }

// Memory returns the bytes of memory that b occupies. For a view that is all of the shared memory.
func (b *Buffer) Memory() int64 {
	if b.base != nil {
		return int64(len(b.base.store))
	}
	return int64(cap(b.B))
}

// TryGetLike is TryGet for a buffer into which the caller copies lines of like. The buffer has the
// key of like and holds its receipts, too. The account of like, if it has one, is charged for it.
func (p *Pool) TryGetLike(like *Buffer, size int) *Buffer {
	return likeOf(p.TryGet(size), like)
}

// MustGetLike is TryGetLike with MustGet.
func (p *Pool) MustGetLike(like *Buffer, size int) *Buffer { return likeOf(p.MustGet(size), like) }

// likeOf gives b, which may be nil, the account, the key and the receipts of like, and returns b.
func likeOf(b, like *Buffer) *Buffer {
	if b == nil {
		return nil
	}
	if like.account != nil {
		b.account = like.account
		b.account.held.Add(int64(len(b.store)))
	}
	b.Key = like.Key
	b.HoldLike(like)
	return b
}

// putViewLocked gives back a view. After the last view it returns the buffer of which these were
// views, which the caller puts back, and otherwise nil.
func (p *Pool) putViewLocked(v *Buffer) *Buffer {
	b := v.base
	v.account.held.Add(-int64(len(b.store)))
	v.B, v.Lines, v.Framing, v.base, v.account, v.free = nil, 0, framing.Newline, nil, nil, true
	if p.nViews < maxViews {
		v.next = p.freeViews
		p.freeViews = v
		p.nViews++
	}
	if b.views--; b.views > 0 {
		return nil
	}
	return b
}
