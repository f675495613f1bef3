package delivery

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/intake"
	"linesplit/internal/intake/naive"
	"linesplit/linebuf"
)

// simAccount is what the simulation knows about one sender's lines, without its stream.
type simAccount struct {
	ruled []ruledFrom // the limits in force, by where their first read began
	out   []byte      // whole lines that the stream has cut
	lines uint64      // complete, those dropped included
	lost  intake.Losses
	short map[int]int // what had come of the lines that were dropped for lack of memory, by their starts
	clean bool        // the end was in order

	lastSeen  time.Time // when bytes came, or the driver no longer held up the stream
	lastWhole time.Time // when the newest whole line came; the beginning without one
	lineFrom  time.Time // when the unfinished line began, without the times held up
	lineAt    int       // its start
	cutFrom   time.Time // when the driver learnt that the sender is cut off
	resumed   time.Time // when it last went on
}

// ruledFrom says that limits were in force for the read at an offset, and until the next one.
type ruledFrom struct {
	at  int
	set intake.Limits
}

// begin notes a read of n bytes that is about to happen.
func (a *simAccount) begin(x *simSender, n int) {
	if last := len(a.ruled) - 1; last < 0 || a.ruled[last].set != x.s.limits {
		a.ruled = append(a.ruled, ruledFrom{x.read, x.s.limits})
	}
	x.read += n
}

// note notes the result of a read.
func (a *simAccount) note(x *simSender, r intake.Result, now time.Time) {
	a.lastSeen = now
	if r.Whole == nil {
		return
	}
	a.lastWhole = now
	a.out = append(a.out, r.Whole.B...)
	a.lines += uint64(r.Lines)
	x.s.cutLines += r.Lines
	bodies, rest := deframe(string(r.Whole.B), x.framing)
	if n := len(bodies); n != r.Lines || n != r.Whole.Lines || n == 0 || rest != "" || r.Whole.Framing != x.framing {
		x.s.t.Errorf("seed %d: a buffer counts %d and %d lines, has %d, ends in %q", x.s.seed, r.Lines, r.Whole.Lines, n, rest)
	}
}

// lose notes losses. A line that is dropped for lack of memory is the unfinished one.
func (a *simAccount) lose(x *simSender, l intake.Losses) {
	if l.Dropped[intake.ReasonMemory].Lines > 0 {
		a.short[x.lineStart()] = x.read - x.lineStart()
		a.judgeDrop(x)
		if x.s.plenty {
			x.s.t.Errorf("seed %d: a line was dropped although there is plenty of memory", x.s.seed)
		}
	}
	for why, n := range l.Dropped {
		a.lost.Dropped[why].Add(n)
	}
	a.lost.Truncated += l.Truncated
	a.lines += l.Lines()
}

// checkLedger demands that each byte that was read is in a buffer, dropped or carried, and that
// each line that was cut is given to a machine or on its way to one.
func (s *sim) checkLedger() {
	if !s.fed || s.stopped {
		return
	}
	lines := len(s.given)
	for _, b := range s.queue {
		lines += b.Lines
	}
	for _, x := range s.senders {
		if x.unsent != nil {
			lines += x.unsent.Lines
		}
		if got, want := x.account.bytes()+x.in.Carried(), x.read+x.account.added(x); got != want {
			s.t.Errorf("seed %d: %d bytes accounted for, %d read", s.seed, got, want)
		}
	}
	if lines != s.cutLines {
		s.t.Errorf("seed %d: %d lines cut, %d are in the queue or with machines", s.seed, s.cutLines, lines)
	}
}

// bytes returns what has left the stream, or was dropped.
func (a *simAccount) bytes() int {
	n := uint64(len(a.out))
	for _, d := range a.lost.Dropped {
		n += d.Bytes
	}
	return int(n)
}

// added returns the bytes of delimiters that the sender has not written, or not yet.
func (a *simAccount) added(x *simSender) int {
	at := x.lineStart()
	set := a.limitsAt(at)
	cut := set.Policy == intake.Truncate && x.read-at >= set.MaxLine && a.short[at] == 0
	if x.framing != framing.Octet && (cut || x.ending) {
		return 1
	}
	return 0
}

// judgeDrop demands that a driver that may be late has read the rest of a line that is dropped for
// another one. A long line gets no room for that.
func (a *simAccount) judgeDrop(x *simSender) {
	const long = 4 << 10
	end, come := x.endBehind(x.lineStart())
	rest, carried := end-1-x.read, x.in.Carried()
	late := x.requested && x.onLoop && x.unsent == nil && !x.reset && !x.restRead
	if late && come && rest < carried && carried <= long {
		x.s.t.Errorf("seed %d: a line was dropped although its rest had come", x.s.seed)
	}
}

func (x *simSender) lineStart() int { return x.startBefore(x.read) }

// noteLine notes when the unfinished line began.
func (a *simAccount) noteLine(x *simSender, now time.Time) {
	if at := x.lineStart(); at != a.lineAt || a.lineFrom.IsZero() {
		a.lineAt, a.lineFrom = at, now
	}
	if a.lineAt == x.read {
		a.lineFrom = time.Time{}
	}
}

// heldUp notes a time for which the sender could do nothing.
func (a *simAccount) heldUp(d time.Duration, now time.Time) {
	a.lastSeen, a.resumed = now, now
	if !a.lineFrom.IsZero() {
		a.lineFrom = a.lineFrom.Add(d)
	}
}

// checkTimeouts cuts off a sender whose time is over, and demands that it is.
func (x *simSender) checkTimeouts(now time.Time) {
	if x.over {
		return
	}
	a, s := &x.account, x.s
	want := intake.NoTimeout
	switch {
	case x.waits != forNothing:
	case s.slow > 0 && !a.lineFrom.IsZero() && now.Sub(a.lineFrom) > s.slow:
		want = intake.SlowLine
	case s.idle > 0 && now.Sub(a.lastSeen) > s.idle:
		want = intake.Idle
	}
	got := x.in.Expired(now, s.idle, s.slow)
	if got != want {
		s.t.Errorf("seed %d: timeout %d, want %d", s.seed, got, want)
	}
	x.cut = x.cut || got != intake.NoTimeout
}

// judgeCut demands that a sender that was cut off has been silent, or has been read for a second.
func (a *simAccount) judgeCut(x *simSender, now time.Time) {
	silent, since := now.Sub(a.lastSeen), now.Sub(a.cutFrom)
	if silent < 250*time.Millisecond && since < time.Second {
		x.s.t.Errorf("seed %d: a sender is cut off after %v, %v after its last bytes", x.s.seed, since, silent)
	}
}

// judgeStay demands that a sender that was cut off does not stay.
func (a *simAccount) judgeStay(x *simSender, now time.Time) {
	if a.cutFrom.IsZero() || x.waits != forNothing {
		return
	}
	if stays := min(now.Sub(a.cutFrom), now.Sub(a.resumed)); stays > 5*time.Second {
		x.s.t.Errorf("seed %d: a sender that was cut off stays for %v", x.s.seed, stays)
	}
}

// check compares what the stream has made of all bytes with the rules in their simplest form.
func (a *simAccount) check(x *simSender) {
	out, lost := a.expect(x, x.sent[:x.read])
	lost.MaxLine = a.lost.MaxLine
	if !bytes.Equal(a.out, out) || a.lost != lost {
		x.s.t.Errorf("seed %d: a sender's lines: got\n%q\n%+v\nwant\n%q\n%+v", x.s.seed, a.out, a.lost, out, lost)
	}
}

// expect returns what is to become of the bytes that were read.
func (a *simAccount) expect(x *simSender, in []byte) (out []byte, lost intake.Losses) {
	for at := 0; at < len(in); {
		end, _ := x.endBehind(at)
		whole := end <= len(in)
		n := min(end, len(in)) - at
		set := a.limitsAt(at)
		one := linebuf.Count{Lines: 1, Bytes: uint64(n)}
		r, _ := naive.CutFramed(in[at:at+n], x.framing, set.MaxLine, set.Policy.String())
		switch {
		case a.short[at] > 0:
			one.Bytes -= shorter(in[at:at+a.short[at]], end-at, set, x.framing)
			lost.Dropped[intake.ReasonTruncated].Bytes += uint64(n) - one.Bytes
			lost.Dropped[intake.ReasonMemory].Add(one)
		case r.Closed:
			lost.Dropped[intake.ReasonOversize].Add(one)
			lost.Dropped[intake.ReasonClosed].Add(x.countLines(at+n, len(in)))
			return out, lost
		case !whole && !a.clean && n < set.MaxLine && x.framing != framing.Octet:
			lost.Dropped[intake.ReasonTorn].Add(one)
		default:
			out = append(out, r.Out...)
			lost.Dropped[intake.ReasonOversize].Add(r.Oversize)
			lost.Dropped[intake.ReasonTruncated].Bytes += r.CutOff
			lost.Truncated += r.Truncated
			if r.Torn > 0 {
				lost.Dropped[intake.ReasonTorn].Add(linebuf.Count{Lines: 1, Bytes: uint64(r.Torn)})
			}
		}
		at += n
	}
	return out, lost
}

// shorter returns the bytes by which the count of a line that is truncated has become shorter, if
// that count is in the part of the line that has come.
func shorter(come []byte, size int, set intake.Limits, f framing.Framing) uint64 {
	head := bytes.IndexByte(come, ' ')
	if f != framing.Octet || head < 0 || size <= set.MaxLine || set.Policy != intake.Truncate {
		return 0
	}
	kept := set.MaxLine - len(strconv.Itoa(set.MaxLine)) - 1
	return uint64(head - len(strconv.Itoa(kept)))
}

// countLines counts the lines between two positions, of which the last may be unfinished.
func (x *simSender) countLines(from, to int) linebuf.Count {
	n := linebuf.Count{Bytes: uint64(to - from)}
	for from < to {
		from, _ = x.endBehind(from)
		n.Lines++
	}
	return n
}

func (a *simAccount) limitsAt(at int) (set intake.Limits) {
	for _, r := range a.ruled {
		if r.at > at {
			break
		}
		set = r.set
	}
	return set
}

// checkWait demands that a sender that waits keeps no other one waiting.
func (x *simSender) checkWait() {
	switch {
	case x.waits == forMemory && x.inGate:
		x.s.t.Errorf("seed %d: a sender waits for memory in the gate", x.s.seed)
	case x.waits == forGate && !x.grown && x.in.Carried() == 0 && x.lineBuffer() > 0:
		x.s.t.Errorf("seed %d: a sender waits at the gate with an empty buffer", x.s.seed)
	}
}

// holds returns the bytes of buffers that the sender's driver and its stream hold.
func (x *simSender) holds() (n int64) {
	n = x.lineBuffer()
	for _, b := range []*linebuf.Buffer{x.unsent, x.got} {
		if b != nil {
			n += int64(cap(b.B))
		}
	}
	return n
}

// lineBuffer returns the size of the buffer of the stream.
func (x *simSender) lineBuffer() int64 { return int64(x.in.Carried() + cap(x.in.Room())) }

// checkMemory demands that all memory in use is held by someone, and that no sender waits for
// memory that is free.
func (s *sim) checkMemory() {
	if !s.fed || s.stopped {
		return
	}
	var held, lines, most, largest int64
	settled := true
	for _, x := range s.senders {
		if x.waits == forMemory && !x.collect() {
			largest = max(largest, x.needs)
		}
		x.checkWait()
		settled = settled && x.waits == forNothing && !x.held && !x.grown
		held += x.holds()
		lines += x.lineBuffer()
		charged := x.lineBuffer()
		if x.waits == forMemory || x.grown {
			charged = max(charged, x.needs)
		}
		most += charged
	}
	for _, b := range s.queue {
		held += int64(cap(b.B))
	}
	for _, m := range s.machines {
		held += m.holds()
	}
	use := s.streams.Usage()
	switch {
	case held != s.buffers.InUse():
		s.t.Errorf("seed %d: %d bytes in use, %d held", s.seed, s.buffers.InUse(), held)
	case largest > 0 && (held == 0 || largest <= s.buffers.Limit()-held):
		s.t.Errorf("seed %d: a sender waits for %d bytes, %d of %d are in use", s.seed, largest, held, s.buffers.Limit())
	case settled && use.Unfinished != lines:
		s.t.Errorf("seed %d: %d bytes are charged for lines, %d held", s.seed, use.Unfinished, lines)
	case use.Unfinished > most:
		s.t.Errorf("seed %d: %d bytes are charged for lines, %d held at most", s.seed, use.Unfinished, most)
	case use.Unfinished < 0 || use.Awake < 0 || use.Awake > use.AwakeMax:
		s.t.Errorf("seed %d: %+v", s.seed, use)
	}
}

// left prints which senders are left.
func (s *sim) left() {
	if !s.fed {
		return
	}
	s.say("%d bytes of %d in use, %+v, %d queued, %d machines", s.buffers.InUse(), s.buffers.Limit(), s.streams.Usage(),
		len(s.queue), len(s.machines))
	for _, x := range s.senders {
		s.say("sender: read %d of %d, waits %d for %d bytes, in gate %v, requested %v, asked %v, cut %v, fin %v, buffer %d, unsent %v",
			x.read, len(x.sent), x.waits, x.needs, x.inGate, x.requested, x.in.Asked(), x.cut, x.fin, x.lineBuffer(), x.unsent != nil)
	}
}

// holds returns the bytes of buffers that the machine holds.
func (m *simMachine) holds() (n int64) {
	for _, c := range m.leaving {
		n += c.window.mem
	}
	if m.out != nil {
		n += m.out.window.mem
	}
	for _, seg := range m.retryQueue.list[m.retryQueue.head:] {
		n += seg.buf.Memory()
	}
	return n
}

// noteHeld notes the lines that the machine has yet to write or to see confirmed.
func (m *simMachine) noteHeld(times map[int]int) {
	held := m.retryQueue.list[m.retryQueue.head:]
	if m.out != nil {
		held = slices.Concat(held, m.out.window.list[m.out.window.head:])
	}
	for _, seg := range held {
		m.s.receive("a machine", string(seg.bytes()), seg.buf.Framing, times)
	}
}

// judgeEviction demands that a sender that has to give memory back is not one whose line has come
// just now, while that of another has been waiting for longer.
func (s *sim) judgeEviction(x *simSender) {
	const grace = 250 * time.Millisecond // for small lines
	if n := x.in.Carried(); n == 0 || x.waits != forNothing || 2*int64(linebuf.ClassSize(n)) <= x.lineBuffer() {
		return // it gives back what its line does not need
	}
	for _, y := range s.senders {
		if y == x || y == s.acting || y.in.Carried() == 0 || y.in.Asked() || y.waits != forNothing {
			continue
		}
		if x.account.lastWhole.After(y.account.lastSeen.Add(grace)) {
			s.t.Errorf("seed %d: the line of a sender of %v ago is dropped, another is silent for %v", s.seed,
				time.Since(x.account.lastWhole), time.Since(y.account.lastSeen))
		}
	}
}
