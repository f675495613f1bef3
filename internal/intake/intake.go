// Package intake has the rules for the bytes that senders write: where lines end, which lines are
// dropped or truncated, how much memory unfinished lines may take, and how long a sender may be
// silent. docs/delivery.md describes the drops, and docs/operations.md the memory.
//
// A [Stream] holds the unfinished line of one inbound connection. It has no goroutine, socket,
// channel or clock. A driver tells it of events, and carries out the actions that it asks for:
//
//	events   Prepare, Read, Settle, Quiet, Deadline, Obey, HoldUp, Resume, Last, Torn, End
//	actions  a read into Room, the buffer that Read returns, the wait that Prepare asks for, a
//	         deadline for reads, and the methods of Driver
//
// The contract between them:
//   - One goroutine at a time calls a Stream. Streams share a [Shared], which is safe for
//     concurrent use.
//   - The driver calls Prepare before each read, which reports whether the read may take place.
//     Then the driver reads into Room and calls Read if bytes have come, or Quiet if there are
//     none.
//   - The buffer that Read returns belongs to the driver. It calls Settle, and reads nothing more
//     before it has handed the buffer over, so that a slow receiver holds back the sender.
//   - A driver that may have to wait for long with the buffer calls Quiet first, or GoQuiet for a
//     Held stream, so that the stream keeps no read buffer meanwhile.
//   - Where the driver has to wait, for the gate, for memory or to hand over, it calls HoldUp
//     before the wait and Resume after it. For memory it asks Need how much to wait for, and passes
//     the buffer to Replace.
//   - When a stream has become awake, has been cut off or has missed its deadline, the driver asks
//     Deadline for the next one. Once it is cut off, it does so before each read.
//   - After Driver.Evict the driver calls Obey soon, whatever it waits for, except the hand-over
//     and the gate. A wait for memory ends with that: ReadRest may have brought whole lines, which
//     are handed over first, and Prepare says whether there is still a need.
//   - When Late reports true, it calls Complete, and hands over what that returns.
//   - At the end it calls Last, or Complete and Torn, and then End, after which the Stream holds
//     nothing.
//
// Where to find a rule:
//
//	where a line ends, lines that are too long       lines.go; octets.go for octet counting
//	which framing a sender has                       detect.go
//	lines that are joined to records                 join.go
//	which unfinished line is dropped for memory      budget.go
//	the size of the next read, and its buffer        room.go; held.go for reads that need one first
//	whether lines are copied when they leave         separate in intake.go
//	silent senders, slow lines, the end of a drain   timeouts.go
package intake

import (
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// Driver does the I/O for a Stream, and counts its losses. Any goroutine may call Evict; the Stream
// calls the other methods from within its events.
type Driver interface {
	// EnterGate takes a place in the gate if that needs no waiting, and reports whether the stream
	// has one. A Held stream needs none.
	EnterGate() bool
	// LeaveGate gives back the place in the gate, if the stream has one.
	LeaveGate()
	// Evict makes the driver call Obey. It is called with the lock of the budget held, so it must
	// not call the Stream.
	Evict()
	// ReadRest reads the bytes that have come after an unfinished line that is about to be dropped,
	// into RestRoom, calls Read, and reports whether that has completed the line. A driver that
	// always reads bytes as soon as they come returns false.
	ReadRest() bool
	// Lost counts lines that are not delivered, or not whole.
	Lost(Losses)
}

// Options are the settings of a Stream that do not change.
type Options struct {
	Held  bool // the driver's reads need a buffer before there is anything to read; see held.go
	Timed bool // timeouts apply to the sender, and the read buffer is charged while the stream is awake

	Framing framing.Framing // of the sender; may be Auto
}

// Limits are the settings of a Stream that may change. A change applies to lines of which no byte
// has been read.
type Limits struct {
	MaxLine int // maximum length of a line with its delimiter or count, in bytes
	Policy  Oversize
	Join    Join
}

// Stream is one inbound connection: its unfinished line, and the buffer that holds it.
//
// While it waits for bytes it has no buffer, or one just large enough for its unfinished line:
// thousands of idle connections cost little each.
type Stream struct {
	shared *Shared
	driver Driver
	o      Options
	rules  rules

	buf    *linebuf.Buffer // begins with record, then the unfinished line; nil if there is neither
	record record          // see join.go
	size   int             // of the next buffer, in bytes
	filled bool            // the last read filled its buffer
	began  bool            // the last read has ended a line, so the unfinished line began in it

	awake       bool  // see held.go
	awakeCharge int64 // bytes that awakeBudget charges for the read buffer; 0 unless awake
	active      bool  // bytes have come since the last call of Deadline
	excused     bool  // the stream was held up since the last call of Deadline

	readOut time.Time // when a stream that was cut off is read no more; zero before that

	activity activity
	charged
}

// Init makes s ready for its first read.
func (s *Stream) Init(shared *Shared, driver Driver, o Options, set Limits, now time.Time) {
	s.shared, s.driver, s.o = shared, driver, o
	s.rules = rules{max: set.MaxLine, policy: set.Policy, framing: o.Framing}
	s.size = shared.readSize
	s.at = -1
	s.noteRead(now)
}

// Result is the result of a read.
type Result struct {
	Whole *linebuf.Buffer // whole lines to hand over, or nil; the caller owns the buffer
	Lines int             // number of lines in Whole
	Close bool            // the driver is to close the connection, for a line that is too long or for Uncounted

	Uncounted bool // the sender's octet counting is broken: no count was where one has to be
}

// Fresh returns the unfinished line with the n bytes that have been read after it, and the length
// of the line before these. Callers may look at b until they call Read, which may move the bytes.
func (s *Stream) Fresh(n int) (b []byte, from int) {
	from = len(s.buf.B)
	return s.buf.B[:from+n], from
}

// Read takes n bytes that have been read into Room. Losses are reported to the driver.
func (s *Stream) Read(n int, set Limits, now time.Time) (r Result) {
	b := s.buf
	from := len(b.B)
	s.adapt(n, cap(b.B)-from)
	b.B = b.B[:from+n]
	c := s.rules.apply(set, b.B[s.record.size:], from-s.record.size)
	if c.lossy {
		s.driver.Lost(Losses{c.dropped, c.truncated, s.rules.max})
	}
	b.B = b.B[:s.record.size+c.whole+c.rest]
	s.measure(n, c.ended || c.whole > 0, now)
	s.noteRead(now)
	s.began, s.active = c.ended, true
	switch {
	case s.joins(set.Join):
		if size, records := s.join(set.Join, s.record.size+c.whole, c.rest, now); records > 0 {
			r.Whole, r.Lines = s.takeRecords(size, now), records
		}
	case c.whole > 0:
		r.Whole, r.Lines = s.separate(c.whole), c.lines
		r.Whole.Lines, r.Whole.Read, r.Whole.Framing = c.lines, now, s.rules.inner()
		s.discharge()
	}
	r.Close, r.Uncounted = c.close, c.uncounted
	return r
}

// Settle ends a read: the driver calls it once it has handed over the lines of the read.
func (s *Stream) Settle() {
	s.Account()
	s.noteLine(s.began)
}

// separate returns a buffer with the first whole bytes of s.buf, and leaves the rest to the stream.
// If they are few bytes of a large buffer it copies them, since they would otherwise hold all of
// its memory until they are confirmed.
func (s *Stream) separate(whole int) *linebuf.Buffer {
	full, pool := s.buf, s.shared.pool
	rest := full.B[whole:]
	if whole < len(rest) || 4*linebuf.ClassSize(whole) <= cap(full.B) {
		part := pool.TryGet(whole)
		if part == nil && whole < len(rest) {
			part = pool.MustGet(whole) // one of the two has to be copied
		}
		if part != nil {
			part.B = append(part.B, full.B[:whole]...)
			full.B = full.B[:copy(full.B, rest)]
			return part
		}
	}
	s.buf = nil
	if len(rest) > 0 {
		s.buf = s.bufferFor(rest)
		s.buf.B = append(s.buf.B, rest...)
	}
	full.B = full.B[:whole]
	return full
}

// smallRest is the size of the longest start of a line, in bytes, for which the stream always keeps
// a buffer of no more than its size. To copy it once more costs little, and a thousand busy senders
// that wait for their turn do not hold a read buffer each.
const smallRest = 4 << 10

// bufferFor returns a buffer for rest, the start of a line. It has room for the next read if rest
// is long and there is probably more to read at once.
func (s *Stream) bufferFor(rest []byte) *linebuf.Buffer {
	pool := s.shared.pool
	if s.filled && len(rest) > smallRest {
		if b := pool.TryGet(s.want(len(rest))); b != nil {
			return b
		}
	}
	return pool.MustGet(len(rest))
}

// Last ends the unfinished line with its delimiter, at a clean end of the stream, and returns its
// buffer, which the caller owns. It returns nil if there is no unfinished line, or if the sender
// counts octets: then Torn returns the line.
func (s *Stream) Last(now time.Time) *linebuf.Buffer {
	rest := s.Carried()
	if rest == 0 || s.rules.framing == framing.Octet {
		return nil
	}
	if s.Unfinished() == 0 {
		return s.Complete(now)
	}
	if rest == cap(s.buf.B) { // data that came together with the end may have filled it
		s.Replace(s.shared.pool.MustGet(rest + 1))
	}
	b, f := s.buf, s.rules.inner()
	b.B = append(b.B, f.Delimiter())
	if s.joins(s.record.set) {
		return s.lastRecords(now)
	}
	s.buf = nil
	s.discharge()
	b.Lines, b.Read, b.Framing = 1, now, f
	return b
}

// Torn returns the count of the unfinished line, which is lost if the stream ends now.
func (s *Stream) Torn() linebuf.Count {
	if rest := s.Unfinished(); rest > 0 {
		return linebuf.Count{Lines: 1, Bytes: uint64(rest)}
	}
	return linebuf.Count{}
}

// End gives back all memory of the stream. It is the last event.
func (s *Stream) End() {
	s.shared.pool.Put(s.buf)
	s.buf = nil
	s.GoQuiet()
	s.Account()
	s.shared.budget.forget(s)
}
