package intake

import "linesplit/linebuf"

// This file is about streams whose reads need a buffer before there is anything to read: those of
// TLS, and connections without a descriptor. While such a stream is quiet, it reads into a small
// buffer of its driver, or into the room behind its unfinished line. Once a read has filled that,
// the driver wakes it, and it gets a full-size buffer until nothing has come for quietAfter. Where
// too many streams are awake, it stays quiet, and reads go on with less at a time.

// SmallRead is the size of the small buffer in bytes. It is in no budget.
const SmallRead = 512

// prepareHeld is Prepare: it provides Room behind the unfinished line, or none, and then the driver
// reads into its small buffer and calls Fill. All that is held during the read is charged.
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

// Fill copies b into a buffer of its own, as if it had been read into Room. The driver then calls
// Read.
func (s *Stream) Fill(b []byte) {
	s.buf = s.shared.pool.MustGet(len(b))
	copy(s.buf.B[:len(b)], b)
}

// Awake reports whether the stream is awake.
func (s *Stream) Awake() bool { return s.awake }

// Wake gives the stream a full-size buffer from the next read on, and needs a Deadline.
func (s *Stream) Wake() { s.awake = true }

// wantQuiet is want for a quiet stream.
func (s *Stream) wantQuiet(carried int) int {
	return min(linebuf.ClassSize(carried+SmallRead), max(linebuf.ClassSize(s.rules.max), SmallRead))
}

// stayAwake provides a full-size buffer, and charges it. If it returns false, the budget of awake
// streams or the pool has no room for it. UDP and stdin, of which there are few, are not charged.
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
