// Package acked connects to targets that acknowledge for themselves what they have taken, so that
// delivery to them is exact: nothing is estimated, and only what was not acknowledged is sent
// again.
//
//	Write ──▶ batch being filled ──▶ batch being sent ──▶ Sender ──▶ target
//	                                        └─ Progress, once the target has answered for it
//
// A [Conn] takes the place of a target.Conn. It copies lines into batches, and a goroutine sends
// one batch at a time. A [Sender] speaks the protocol: HTTP with newline-delimited JSON, the bulk
// API of Elasticsearch, RELP, or Lumberjack.
//
// What has been sent once stays in the same batch. A connection tells so by the mark of the batch
// in each buffer (linebuf.Buffer.Batch), and the next connection that sends the lines again puts
// them together in the same way. So a target can recognize a batch that it has taken before.
package acked

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// Sender speaks a protocol with acknowledgements over one connection.
type Sender interface {
	// Send sends lines and returns once the target has answered for all of them. Waiting for a
	// target that asks for patience, and repeating what it asks to repeat, is up to Send. An error
	// means that the connection has failed and nothing is known of the lines, unless it wraps a
	// *Partly. Otherwise all lines are delivered but those that the target has refused for good,
	// which Send returns in their order. Send does not use the bytes of p after it has returned nil
	// as an error.
	Send(ctx context.Context, p Part) (refused []Refused, err error)
	// Close ends the connection at once. It is called once, after the last Send has returned.
	Close()
}

// Partly is the error of a Send that knows more of the lines: the first ones are delivered, and the
// last ones were not sent.
type Partly struct {
	Lines int // that are delivered
	Sent  int // that may have been sent, these included
	Err   error
}

// Error returns the text of Err.
func (e *Partly) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Partly) Unwrap() error { return e.Err }

// Refused is a line that a target has refused for good, and what the target has answered.
type Refused struct {
	Part
	Answer string // for people, of limited length
}

// againWithin is how long a batch that is sent again waits for the rest of its lines. They come at
// once unless the window is full: then the batch goes in two parts, as two batches.
const againWithin = 2 * time.Second

// Conn is a connection to a target that acknowledges. It has the methods of [target.Conn], and
// Announce: one goroutine at a time writes; the others are safe for concurrent use.
type Conn struct {
	sender  Sender
	address target.Address
	limits  target.Batching // with their defaults
	rejects *Rejects
	note    func(first linebuf.Mark, runs []linebuf.Run) // see Options.Note

	ctx    context.Context // of what the sender does; it carries hurry
	cancel context.CancelFunc
	hurry  chan struct{} // closed when the connection is left
	events chan struct{} // see Events
	room   chan struct{} // there may be room for more lines
	wake   chan struct{} // the batch that is being filled may be ready

	// Only the writing goroutine uses these:
	timer *time.Timer // of a Write that waits
	now   announced

	mu       sync.Mutex // guards the fields below; never held while waiting
	filling  *Batch
	since    time.Time // when it got its first line
	spare    *Batch    // nil: it is being sent
	unsent   int       // bytes of a batch that were not sent when the connection failed
	progress target.Progress
}

// announced is what Announce has told about the lines that are being written.
type announced struct {
	buffer *linebuf.Buffer
	size   int   // of the lines
	marks  marks // of those that are not written yet
	begun  bool  // the first one is
	again  bool  // they have been sent before
	more   bool  // and so have more lines of their batch, which follow
}

// newConn returns a connection that uses s and closes it.
func newConn(a target.Address, s Sender, o *Options) *Conn {
	c := &Conn{
		sender: s, address: a, limits: a.Batching.WithDefaults(), rejects: o.Rejects,
		events: make(chan struct{}, 1), room: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		timer: time.NewTimer(0), filling: new(Batch), spare: new(Batch),
		progress: target.Progress{Exact: true, AllRead: true},
	}
	if a.NamesBatches() {
		c.note = o.Note
	}
	c.hurry = make(chan struct{})
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.Background(), hurryKey{}, c.hurry))
	go c.send()
	return c
}

// Announce implements delivery.Batcher.
func (c *Conn) Announce(b *linebuf.Buffer, size int, more bool) {
	if b.Origin.IsZero() {
		b.Origin = newMark()
	}
	c.now = announced{buffer: b, size: size, marks: marksOf(b), again: !b.Batch.IsZero(), more: more}
}

// completeLocked lets the batch that is being filled be sent.
func (c *Conn) completeLocked() {
	c.filling.full = true
	notify(c.wake)
}

// Write copies whole lines into batches, and waits while there is no room. It calls waiting as
// [target.Conn.Write] does.
func (c *Conn) Write(p []byte, waiting func() error) (n int, err error) {
	for {
		taken, err := c.TryWrite(p[n:])
		n += taken
		if err != nil || n == len(p) {
			return n, err
		}
		if err := c.await(waiting); err != nil {
			return n, err
		}
	}
}

// await waits for room, for as long as waiting returns no error.
func (c *Conn) await(waiting func() error) error {
	for {
		c.timer.Reset(target.Tick)
		select {
		case <-c.room:
			return nil
		case <-c.timer.C:
			if err := waiting(); err != nil {
				return err
			}
		}
	}
}

// TryWrite is Write without waiting.
func (c *Conn) TryWrite(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(p) && c.progress.Err == nil {
		taken := c.fillLocked(p[n:])
		if taken == 0 {
			return n, nil
		}
		n += taken
		c.progress.Written += uint64(taken)
	}
	if n == len(p) && c.now.again && !c.now.more {
		c.completeLocked()
	}
	return n, c.progress.Err
}

// fillLocked adds as many lines of p to the batch that is being filled as have room, and returns
// their size.
func (c *Conn) fillLocked(p []byte) int {
	f := c.filling
	if f.full {
		return 0
	}
	size := 0
	if f.empty() || c.now.begun || c.joinsLocked() {
		size = c.fitting(p, f)
	}
	if size == 0 {
		c.completeLocked()
		return 0
	}
	if f.empty() {
		f.begin(&c.now)
		c.since = time.Now()
		notify(c.wake)
	}
	c.now.buffer.Batch, c.now.begun = f.first, true
	f.watch(f.addMarked(p[:size], &c.now.marks), c.now.buffer)
	return size
}

// joinsLocked reports whether lines of which none is written yet may go into the batch that is
// being filled, which has others. All of them do, or none: so a batch is the same when it is sent
// again.
func (c *Conn) joinsLocked() bool {
	f, now := c.filling, &c.now
	if now.again || f.again {
		return now.again == f.again && now.buffer.Batch == f.first
	}
	return len(f.lines)+now.size <= c.limits.Bytes && f.count+now.buffer.Lines <= c.limits.Lines
}

// fitting returns the size of the lines of p that have room in a batch: at least one if it is
// empty.
func (c *Conn) fitting(p []byte, f *Batch) int {
	size := len(p)
	if room := c.limits.Bytes - len(f.lines); size > room {
		size = bytes.LastIndexByte(p[:max(0, room)], '\n') + 1
	}
	if room := c.limits.Lines - f.count; bytes.Count(p[:size], newline) > room {
		size = 0
		for range room {
			size += bytes.IndexByte(p[size:], '\n') + 1
		}
	}
	if size == 0 && f.empty() {
		size = bytes.IndexByte(p, '\n') + 1
	}
	return size
}

// Progress returns the present state. It is exact: what is acknowledged is what the target has
// answered for.
func (c *Conn) Progress() target.Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.progress
	p.Unsent = uint64(len(c.filling.lines) + c.unsent)
	return p
}

// Events returns a channel that gets a value when the target has answered, or the connection has
// failed.
func (c *Conn) Events() <-chan struct{} { return c.events }

// CloseWrite sends what has been written as soon as possible: no more is to come. A target that has
// asked to wait is asked again soon.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.filling.empty() {
		c.completeLocked()
	}
	select {
	case <-c.hurry:
	default:
		close(c.hurry)
	}
	return nil
}

// hurryKey is the key of Conn.hurry in a context.
type hurryKey struct{}

// hurried is how long a wait for a target lasts, at most, once its connection is to be left.
const hurried = time.Second

// Abort ends the connection. What the target has not answered for may be sent elsewhere.
func (c *Conn) Abort() { c.cancel() }

// Close is Abort.
func (c *Conn) Close() { c.cancel() }

// send sends one batch after the other until the connection ends or has failed.
func (c *Conn) send() {
	defer c.sender.Close()
	for {
		b := c.take()
		if b == nil {
			return
		}
		if c.note != nil {
			c.note(b.first, b.runs)
		}
		began := time.Now()
		refused, err := c.sender.Send(c.ctx, b.All())
		took := time.Since(began)
		if err == nil && len(refused) > 0 {
			refused, err = c.dispose(refused)
		}
		c.settle(b, refused, took, err)
		if err != nil {
			return
		}
	}
}

// take waits for a batch that is ready, and makes room for the next one. It returns nil when the
// connection ends.
func (c *Conn) take() *Batch {
	due := time.NewTimer(0)
	defer due.Stop()
	for c.ctx.Err() == nil {
		b, at := c.tryTake(time.Now())
		if b != nil {
			notify(c.room)
			return b
		}
		var alarm <-chan time.Time
		if !at.IsZero() {
			due.Reset(time.Until(at))
			alarm = due.C
		}
		select {
		case <-c.wake:
		case <-alarm:
		case <-c.ctx.Done():
		}
	}
	return nil
}

// tryTake returns the batch that is being filled if it is ready, or else when it will be; the zero
// time if it is empty.
func (c *Conn) tryTake(now time.Time) (b *Batch, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.filling
	if f.empty() {
		return nil, time.Time{}
	}
	if at = c.since.Add(c.limits.Linger); f.again {
		at = c.since.Add(againWithin)
	}
	if !f.full && len(f.lines) < c.limits.Bytes && f.count < c.limits.Lines && now.Before(at) {
		return nil, at
	}
	c.filling, c.spare = c.spare, nil
	return f, time.Time{}
}

// dispose keeps or drops the lines that the target has refused, as its address says, and returns
// those that it has not taken in the end.
func (c *Conn) dispose(refused []Refused) (lost []Refused, err error) {
	if c.limits.Reject == target.RejectBlock {
		return nil, c.insist(refused)
	}
	return refused, c.rejects.keep(c.ctx, c.address, refused)
}

// insist sends lines again and again until the target takes them.
func (c *Conn) insist(refused []Refused) error {
	for wait := firstInsist; len(refused) > 0; wait = min(2*wait, maxInsist) {
		c.rejects.logBlocked(c.address, refused, wait)
		if err := sleep(c.ctx, wait); err != nil {
			return err
		}
		var left []Refused
		for _, r := range refused {
			still, err := c.sender.Send(c.ctx, r.Part)
			if err != nil {
				return err
			}
			left = append(left, still...)
		}
		refused = left
	}
	return nil
}

// The waits before lines are sent again that a target refuses and may not refuse.
const (
	firstInsist = time.Second
	maxInsist   = 30 * time.Second
)

// settle notes what has become of a batch.
func (c *Conn) settle(b *Batch, refused []Refused, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer notify(c.events)
	p := &c.progress
	if err != nil {
		if part, ok := errors.AsType[*Partly](err); ok {
			p.Acked += uint64(b.All().size(part.Lines))
			p.Read, p.Known = p.Acked, p.Acked
			c.unsent = len(b.lines) - b.All().size(part.Sent)
		}
		p.Err = err
		notify(c.room) // a Write that waits returns the error
		return
	}
	p.Acked += uint64(len(b.lines))
	p.Read, p.Known = p.Acked, p.Acked
	p.RoundTrip = took
	for _, r := range refused {
		p.RejectedLines++
		p.RejectedBytes += uint64(len(r.Bytes))
		b.lose(r.Part)
	}
	if cap(b.lines) > 2*c.limits.Bytes { // of a single line that was longer than a batch
		b.lines = nil
	}
	b.reset()
	c.spare = b
}

// notify lets the receiver of c look again.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits for d, or until ctx ends, and returns its error then. It waits for no longer than
// hurried once the connection whose context that is is to be left.
func sleep(ctx context.Context, d time.Duration) error {
	hurry, _ := ctx.Value(hurryKey{}).(chan struct{})
	t := time.NewTimer(d)
	defer t.Stop()
	for end := time.Now().Add(d); ; {
		select {
		case <-t.C:
			return nil
		case <-hurry:
			hurry = nil
			t.Reset(min(hurried, time.Until(end)))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
