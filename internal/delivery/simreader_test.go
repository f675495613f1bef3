package delivery

import (
	"context"
	"testing/synctest"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// waiting is what a driver of a stream waits for.
type waiting int

const (
	forNothing waiting = iota
	forGate
	forMemory
	forQueue // to hand over unsent
)

// simReader is the driver of one stream.
type simReader struct {
	in     intake.Stream
	held   bool // see intake.Options
	onLoop bool // it comes late to what has arrived, and does not wait within Read

	read      int  // sent[:read] has been read
	requested bool // by Evict
	restRead  bool // since then
	cut       bool // the connection is to end once all that has arrived is read
	deadline  time.Time
	tooLong   bool // it is to be closed
	ending    bool // unsent is its last line
	over      bool

	waits    waiting
	waitFrom time.Time
	inGate   bool
	unsent   *linebuf.Buffer
	cancel   func() // ends the wait for memory
	granted  chan *linebuf.Buffer
	needs    int64           // bytes that it waits for
	got      *linebuf.Buffer // has been granted
	grown    bool            // the stream has it, and has not read into it

	account simAccount
}

// begin accepts the connection.
func (x *simSender) begin(now time.Time) {
	x.held, x.onLoop = x.s.rng.IntN(4) == 0, x.s.rng.IntN(2) == 0
	x.onLoop = x.onLoop && !x.held
	x.account = simAccount{lastSeen: now, lastWhole: now, short: map[int]int{}}
	x.in.Init(x.s.streams, x, intake.Options{Held: x.held, Timed: true, Framing: x.framing}, x.s.limits, now)
}

// pass lets the driver do what it can.
func (x *simSender) pass(now time.Time) {
	x.checkTimeouts(now)
	x.account.judgeStay(x, now)
	for range 1 + x.s.rng.IntN(4) {
		if !x.step(now) {
			return
		}
	}
}

// step reads once. It returns false if there is nothing more to do for now.
func (x *simSender) step(now time.Time) bool {
	switch {
	case x.over || x.waits == forGate || x.waits == forQueue:
		return false
	case x.waits == forMemory:
		return x.awaitMemory(now)
	}
	if (x.requested || x.cut || x.lapsed(now)) && !x.handleRequests(now) {
		return false
	}
	switch {
	case x.unsent != nil && !x.handOver(now):
		return false
	case x.tooLong:
		x.end(false, now)
		return false
	case x.onLoop && !x.readable() && x.s.rng.IntN(2) == 0:
		return false
	}
	x.grown = false
	switch x.in.Prepare() {
	case intake.AtGate:
		x.wait(forGate, now)
		return false
	case intake.Starved:
		return x.starve(now)
	}
	return x.readOnce(now)
}

func (x *simSender) readable() bool { return x.read < len(x.sent) || x.fin || x.reset }

func (x *simSender) readOnce(now time.Time) bool {
	left := len(x.sent) - x.read
	switch {
	case x.reset:
		x.end(false, now)
		return false
	case left == 0 && x.fin:
		x.end(true, now)
		return false
	case left == 0:
		if !x.held {
			x.in.Quiet()
		}
		return false
	}
	into := x.in.Room()
	if into == nil {
		into = make([]byte, intake.SmallRead)
	}
	n := copy(into, x.sent[x.read:])
	if x.s.rng.IntN(3) == 0 {
		n = 1 + x.s.rng.IntN(n)
	}
	if x.held && n == len(into) && !x.in.Awake() {
		x.in.Wake()
		x.requested = true
	}
	if x.in.Room() == nil {
		x.in.Fill(into[:n])
	}
	x.take(n, now)
	switch {
	case x.unsent != nil:
		x.wait(forQueue, now)
		return false
	case x.tooLong:
		x.end(false, now)
		return false
	}
	x.LeaveGate()
	return true
}

// lapsed reports whether the deadline for reads has passed.
func (x *simSender) lapsed(now time.Time) bool {
	return !x.deadline.IsZero() && !now.Before(x.deadline)
}

// handleRequests does what the budget and the clock ask for. It returns false if that has ended the
// connection.
func (x *simSender) handleRequests(now time.Time) bool {
	if x.cut && x.account.cutFrom.IsZero() {
		x.account.cutFrom = now
	}
	at, over := x.in.Deadline(now, x.lapsed(now), x.cut)
	x.deadline = at
	if over {
		x.account.judgeCut(x, now)
		x.end(false, now)
		return false
	}
	x.in.Obey()
	x.requested = false
	x.in.Account()
	return true
}

// take gives n bytes that have been read to the stream.
func (x *simSender) take(n int, now time.Time) {
	x.account.begin(x, n)
	r := x.in.Read(n, x.s.limits, now)
	x.account.note(x, r, now)
	x.tooLong = r.Close
	if r.Whole != nil && !x.s.offer(r.Whole) {
		x.unsent = r.Whole
	}
	if !r.Close && (x.onLoop || x.unsent == nil) {
		x.settle(now)
	}
}

func (x *simSender) settle(now time.Time) {
	x.in.Settle()
	x.account.noteLine(x, now)
}

// end ends the connection, and the stream once its last line is handed over.
func (x *simSender) end(clean bool, now time.Time) {
	x.s.say("sender ends, clean %v, read %d of %d", clean, x.read, len(x.sent))
	x.LeaveGate()
	x.account.clean = clean
	if !clean || x.framing == framing.Octet {
		x.account.lost.Dropped[intake.ReasonTorn].Add(x.in.Torn())
	} else if b := x.in.Last(now); b != nil {
		x.account.out = append(x.account.out, b.B...)
		x.s.cutLines += b.Lines
		if !x.s.offer(b) {
			x.unsent, x.ending = b, true
			x.wait(forQueue, now)
			return
		}
	}
	x.finish()
}

func (x *simSender) finish() {
	x.in.End()
	x.over = true
	x.account.check(x)
}

// abort ends the connection at once, as a hard end does.
func (x *simSender) abort(now time.Time) {
	if x.over {
		return
	}
	if x.waits == forMemory {
		x.cancel()
		x.collect()
		x.s.buffers.Put(x.got)
		x.got = nil
	}
	x.waits = forNothing
	x.s.buffers.Put(x.unsent)
	x.unsent = nil
	if x.ending {
		x.finish()
		return
	}
	x.end(false, now)
}

// wait makes the driver wait, for anything but the memory.
func (x *simSender) wait(what waiting, now time.Time) {
	x.waits, x.waitFrom = what, now
	x.in.HoldUp()
	switch what {
	case forGate:
		x.s.gateLine = append(x.s.gateLine, x)
	case forQueue:
		x.s.handing = append(x.s.handing, x)
	}
}

// handOver hands over unsent, or waits for that.
func (x *simSender) handOver(now time.Time) bool {
	if !x.s.offer(x.unsent) {
		x.wait(forQueue, now)
		return false
	}
	x.unsent = nil
	return true
}

// resume ends the wait.
func (x *simSender) resume(now time.Time) {
	x.waits = forNothing
	x.in.Resume(x.waitFrom, now)
	x.account.heldUp(now.Sub(x.waitFrom), now)
}

// starve gets the memory that the stream needs, and its place in the gate again. It returns false
// if that takes waiting.
func (x *simSender) starve(now time.Time) bool {
	size := x.in.Need()
	if b := x.s.buffers.TryGet(size); b != nil {
		return x.feed(b, now)
	}
	x.wait(forMemory, now)
	ctx, cancel := context.WithCancel(context.Background())
	granted := make(chan *linebuf.Buffer, 1)
	x.cancel, x.granted, x.needs = cancel, granted, int64(linebuf.ClassSize(size))
	go func() {
		b, _ := x.s.buffers.Get(ctx, size)
		granted <- b
	}()
	return x.awaitMemory(now)
}

func (x *simSender) feed(b *linebuf.Buffer, now time.Time) bool {
	x.in.Replace(b)
	x.grown = true
	if !x.held && !x.EnterGate() {
		x.wait(forGate, now)
		return false
	}
	return x.step(now)
}

// awaitMemory goes on if the memory has come, or gives some back if that is asked for.
func (x *simSender) awaitMemory(now time.Time) bool {
	if !x.collect() {
		if !x.requested {
			return false
		}
		x.cancel()
		x.collect()
	}
	x.cancel()
	x.resume(now)
	if b := x.got; b != nil {
		x.got = nil
		return x.feed(b, now)
	}
	x.in.Obey()
	x.requested = false
	return x.step(now)
}

// collect reports whether the wait for memory has ended.
func (x *simSender) collect() bool {
	if x.granted == nil {
		return true
	}
	synctest.Wait()
	select {
	case x.got = <-x.granted:
		x.granted = nil
		return true
	default:
		return false
	}
}

// EnterGate implements [intake.Driver], as the other methods below.
func (x *simSender) EnterGate() bool {
	if !x.inGate && x.s.gateFree > 0 {
		x.s.gateFree--
		x.inGate = true
	}
	return x.inGate
}

// LeaveGate lets in the sender that has waited longest.
func (x *simSender) LeaveGate() {
	if !x.inGate {
		return
	}
	x.inGate = false
	if len(x.s.gateLine) == 0 {
		x.s.gateFree++
		return
	}
	next := x.s.gateLine[0]
	x.s.gateLine = x.s.gateLine[1:]
	next.inGate = true
	next.resume(time.Now())
}

// Evict has the driver call Obey at its next turn.
func (x *simSender) Evict() {
	x.requested, x.restRead = true, false
	x.s.judgeEviction(x)
}

// ReadRest reads for a driver that may be late.
func (x *simSender) ReadRest() bool {
	if !x.onLoop || x.over || x.unsent != nil || x.reset {
		return false
	}
	x.restRead = true
	room := x.in.RestRoom()
	n := copy(room, x.sent[x.read:])
	if n == 0 {
		return false
	}
	before := x.account.lines
	x.take(n, time.Now())
	return x.account.lines > before
}

// Lost notes what is dropped.
func (x *simSender) Lost(l intake.Losses) { x.account.lose(x, l) }

// offer hands a buffer over: to a machine that has nothing else to do, or to the queue if no other
// sender waits for that.
func (s *sim) offer(b *linebuf.Buffer) bool {
	if len(s.queue) == 0 && s.rng.IntN(2) == 0 {
		for _, m := range s.machines {
			if m.Wants() && !m.Done() {
				s.give(m, b)
				m.write(time.Now())
				return true
			}
		}
	}
	if len(s.handing) > 0 || len(s.queue) >= s.queueCap {
		return false
	}
	s.queue = append(s.queue, b)
	return true
}

// next takes a buffer out of the queue, and lets those that wait hand over theirs. It returns nil
// if there is none.
func (s *sim) next(now time.Time) *linebuf.Buffer {
	if len(s.queue) == 0 {
		return nil
	}
	b := s.queue[0]
	s.queue = s.queue[1:]
	for len(s.handing) > 0 && len(s.queue) < s.queueCap {
		x := s.handing[0]
		s.handing = s.handing[1:]
		s.queue = append(s.queue, x.unsent)
		x.unsent = nil
		x.handedOver(now)
	}
	return b
}

// handedOver ends the wait of a sender whose buffer is in the queue now.
func (x *simSender) handedOver(now time.Time) {
	x.resume(now)
	switch {
	case x.ending:
		x.finish()
		return
	case x.tooLong:
		x.end(false, now)
		return
	case !x.onLoop:
		x.settle(now)
	}
	x.LeaveGate()
}
