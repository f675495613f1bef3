package intake

import (
	"time"

	"linesplit/linebuf"
)

// This file has the rules for the size of the next read, and for the buffer that a stream keeps.

// Next is what a driver has to do before it may read.
type Next int

const (
	Ready   Next = iota // read into Room
	AtGate              // wait for a place in the gate, then call Prepare again
	Starved             // wait for the memory that Need asks for, then for the gate; then Prepare again
)

// Prepare readies the stream for a read, without waiting.
//
// A stream that waits for the gate gives its buffer back, since a thousand waiting streams must not
// hold one each. A stream that waits for memory leaves the gate, since that wait may be long and
// other streams need less memory. It comes back to the gate with the buffer that it got, and keeps
// it: otherwise long lines would wait for memory and for the gate in turn without end.
func (s *Stream) Prepare() Next {
	switch {
	case s.o.Held:
		return s.prepareHeld()
	case !s.driver.EnterGate():
		s.release()
		s.Account()
		return AtGate
	case !s.ensure():
		s.driver.LeaveGate()
		return Starved
	}
	return Ready
}

// Room returns the memory for the next read, behind the unfinished line, or nil if the stream has
// no buffer.
func (s *Stream) Room() []byte {
	if s.buf == nil {
		return nil
	}
	return s.buf.B[len(s.buf.B):cap(s.buf.B)]
}

// Quiet is the event that there is nothing to read.
func (s *Stream) Quiet() {
	s.release()
	s.Account()
	s.driver.LeaveGate()
}

// Need returns the size of the buffer that a starved stream has to wait for, in bytes. It is as
// small as possible, since other streams wait behind this one. For a line longer than a read
// buffer, Need may evict other lines, or drop the line itself.
func (s *Stream) Need() int {
	for {
		s.Account() // what it holds while it waits
		var size int
		if s.o.Held {
			size = s.wantQuiet(s.Carried())
		} else {
			s.size = s.shared.readSize // ReadRest may have made it larger since the last time
			size = s.want(s.Carried())
		}
		if size <= s.shared.maxRead || s.Carried() == 0 || s.shared.budget.reserve(s, int64(size)) {
			return size
		}
		s.drop()
	}
}

// Carried returns the length of the unfinished line, in bytes, with the record that it belongs to.
func (s *Stream) Carried() int {
	if s.buf == nil {
		return 0
	}
	return len(s.buf.B)
}

// adapt chooses the size of the next buffer. The last read filled n bytes of its room.
func (s *Stream) adapt(n, room int) {
	s.filled = n == room
	switch {
	case s.filled && room >= s.size/4: // to fill little room behind an unfinished line means nothing
		s.size = min(2*s.size, s.shared.maxRead)
	case n < s.size/4:
		s.size = max(s.size/2, s.shared.readSize)
	}
}

// want returns the size of a buffer for an unfinished line of n bytes with room for a read. For a
// growing line it doubles, up to the maximum line length. An unfinished line is always shorter than
// that, so there is always room for a byte.
func (s *Stream) want(n int) int {
	if n == 0 {
		return s.size
	}
	grown := linebuf.ClassSize(n + s.size/4)
	return max(s.size, min(grown, linebuf.ClassSize(s.rules.max)))
}

// ensure provides a buffer to read into, without waiting, and reports whether there is one.
func (s *Stream) ensure() bool {
	want := s.want(s.Carried())
	if s.buf != nil && cap(s.buf.B) >= want {
		return true
	}
	some := s.buf != nil && cap(s.buf.B)-len(s.buf.B) >= s.shared.readSize/4
	if want > s.shared.maxRead && (some || !s.shared.budget.reserve(s, int64(want))) {
		return some
	}
	if b := s.shared.pool.TryGet(want); b != nil {
		s.Replace(b)
		return true
	}
	return some
}

// Replace moves the unfinished line to b, which belongs to the stream from then on.
func (s *Stream) Replace(b *linebuf.Buffer) {
	if s.buf != nil {
		b.B = append(b.B, s.buf.B...)
		s.shared.pool.Put(s.buf)
	}
	s.buf = b
}

// release gives memory back when there is nothing to read: an empty buffer goes back to the pool,
// and a short line moves into a small buffer. Long lines stay where they are until memory is short:
// otherwise a sender of single bytes would have them copied for each byte.
func (s *Stream) release() {
	b := s.buf
	if b == nil {
		return
	}
	if len(b.B) == 0 {
		s.shared.pool.Put(b)
		s.buf = nil
		return
	}
	short := 4*linebuf.ClassSize(len(b.B)) <= cap(b.B) || cap(b.B) <= s.shared.readSize
	if short || s.shared.budget.pressed() {
		s.tighten()
	}
}

// tighten moves an unfinished line into the smallest buffer that holds it.
func (s *Stream) tighten() {
	if s.Carried() == 0 {
		s.shared.pool.Put(s.buf)
		s.buf = nil
	} else if needed := linebuf.ClassSize(len(s.buf.B)); needed < cap(s.buf.B) {
		s.Replace(s.shared.pool.MustGet(needed))
	}
}

// measure notes the headway of the unfinished line, for n new bytes. If gone is set, the line
// before has ended, and the unfinished one began in these bytes.
func (s *Stream) measure(n int, gone bool, now time.Time) {
	if gone {
		s.fresh = 0
		if s.asked.Load() {
			s.shared.budget.settle(s) // the line that it was about has ended
		}
	} else if s.fresh += n; int64(s.fresh)*headwayShare < s.charge.Load() {
		return
	}
	s.fresh = 0
	s.headway.Store(s.shared.budget.now(now))
}

// Account charges the budget of unfinished lines for the memory that the stream holds. If the
// budget refuses, Account drops the line.
func (s *Stream) Account() {
	charge, spare := s.chargeNow()
	s.spare.Store(spare)
	if charge != s.charge.Load() && !s.shared.budget.reserve(s, charge) {
		s.drop()
	}
}

// discharge is Account for a line that has just been completed: it must not stay charged while the
// driver waits to hand it over.
func (s *Stream) discharge() {
	if charge, spare := s.chargeNow(); charge < s.charge.Load() {
		s.spare.Store(spare)
		s.shared.budget.reserve(s, charge)
	}
}

// chargeNow returns the bytes to charge for the unfinished line, and how many of them a smaller
// buffer would save.
func (s *Stream) chargeNow() (charge, spare int64) {
	if s.buf == nil {
		return 0, 0
	}
	size, needed := int64(cap(s.buf.B)), int64(0)
	if n := len(s.buf.B); n > 0 {
		needed = int64(linebuf.ClassSize(n))
	}
	switch {
	case s.awakeCharge > 0: // awakeBudget has been charged for the read buffer
		size = max(needed, size-s.awakeCharge)
	case s.awake && !s.o.Timed && size <= int64(s.shared.maxRead): // its read buffer is charged nowhere
		size = needed
	}
	return size, size - needed
}

// Asked reports whether the budget wants memory back, so that Obey has something to do.
func (s *Stream) Asked() bool { return s.asked.Load() }

// Obey gives memory back if the budget has asked for it: it moves the unfinished line into a
// smaller buffer, or drops it. A line that has used its spare room in the meantime has made
// headway, and stays if another line has made none for longer.
func (s *Stream) Obey() {
	for s.asked.Load() {
		wanted, keepsLine := s.shared.budget.wanted(s)
		keep := s.charge.Load() - wanted
		s.GoQuiet()
		s.tighten()
		if charge, _ := s.chargeNow(); charge > keep && !keepsLine && !s.driver.ReadRest() {
			s.drop()
		}
		s.Account()
		s.shared.budget.settle(s) // if there was nothing left to give back
		s.shared.budget.rebalance()
	}
}

// RestRoom returns Room for the rest of a line that is about to be dropped, or nil if there is no
// line. For a short line it makes at least as much room as the line has bytes.
func (s *Stream) RestRoom() []byte {
	carried := s.Carried()
	if carried == 0 {
		return nil
	}
	if carried <= smallRest && cap(s.buf.B) < 2*carried {
		s.Replace(s.shared.pool.MustGet(2 * carried))
	}
	return s.Room()
}

// drop drops the unfinished line, and the record before it, for lack of memory. The rest of the
// line will be skipped.
func (s *Stream) drop() {
	if s.Carried() > 0 {
		var c cut
		if rest := s.buf.B[s.record.size:]; len(rest) > 0 {
			c = s.rules.abandon(ReasonMemory, rest)
		}
		c.drop(ReasonMemory, s.record.lines, s.record.size)
		s.forgetRecord()
		s.driver.Lost(Losses{c.dropped, c.truncated, s.rules.max})
	}
	s.shared.pool.Put(s.buf)
	s.buf = nil
	s.spare.Store(0)
	s.shared.budget.reserve(s, 0)
}
