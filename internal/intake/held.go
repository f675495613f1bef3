package intake

import "linesplit/linebuf"

// This file has the rules for Held streams, whose reads need a buffer before there is anything to
// read: those of TLS, and connections without a descriptor. A quiet stream reads into a small
// buffer of its driver, or into the room behind its unfinished line. Once a read has filled that,
// the driver wakes the stream, which then has a full-size buffer until nothing has come for
// quietAfter. If too many streams are awake, the stream stays quiet, and its reads bring less at a
// time.

// SmallRead is the size of a driver's small buffer, in bytes. No budget counts these buffers.
const SmallRead = 512

// prepareHeld is Prepare for a Held stream. It provides Room behind the unfinished line, or none:
// then the driver reads into its small buffer and calls Fill. The budget is charged for all that
// the stream holds during the read.
func (s *Stream) prepareHeld() Next {
	if s.awake && !s.stayAwake() {
		s.GoQuiet()
	}
	s.Account()
	if s.buf != nil && len(s.buf.B) == cap(s.buf.B) {
		return Starved
	}
	return Ready
}

// Fill copies b into a new buffer of the stream, as if b had been read into Room. The driver then
// calls Read.
func (s *Stream) Fill(b []byte) {
	s.buf = s.shared.pool.MustGet(len(b))
	copy(s.buf.B[:len(b)], b)
}

// Awake reports whether the stream is awake.
func (s *Stream) Awake() bool { return s.awake }

// Wake gives the stream a full-size buffer from the next read on. The driver then asks Deadline for
// the end of that time.
func (s *Stream) Wake() { s.awake = true }

// wantQuiet is want for a quiet stream: the size of its next buffer, in bytes.
func (s *Stream) wantQuiet(carried int) int {
	return min(linebuf.ClassSize(carried+SmallRead), max(linebuf.ClassSize(s.rules.max), SmallRead))
}

// stayAwake provides a full-size buffer, and charges awakeBudget for it. It returns false if that
// budget or the pool has no room. Streams that are not Timed, UDP and stdin, are few and not
// charged.
func (s *Stream) stayAwake() bool {
	if s.o.Timed {
		want := int64(min(s.want(s.Carried()), s.shared.maxRead))
		if s.awakeCharge = s.shared.budget.awake.reserve(s.awakeCharge, want); s.awakeCharge != want {
			s.size = s.shared.readSize // next time there may be room for that much
			return false
		}
	}
	return s.ensure()
}

// GoQuiet ends the time awake: the read buffer goes back.
func (s *Stream) GoQuiet() {
	if !s.o.Held {
		return
	}
	s.awake = false
	s.awakeCharge = s.shared.budget.awake.reserve(s.awakeCharge, 0)
	s.release()
}
