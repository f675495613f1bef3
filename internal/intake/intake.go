// Package intake decides what becomes of the bytes that senders write: where lines are cut, which
// of them are dropped or truncated, how much memory unfinished lines may take, and how long a
// sender may be silent. docs/delivery.md says what is dropped, docs/operations.md what memory is
// for; this package is where the rules are.
//
// A [Stream] holds the unfinished line of one inbound connection. It has no goroutine, socket,
// channel or clock. A driver tells it what has happened, and does what it asks for:
//
//	events   Prepare, Read, Settle, Quiet, Deadline, Obey, HoldUp, Resume, Last, Torn, End
//	actions  a read into Room, the buffer that Read returns, the wait that Prepare asks for, a
//	         deadline for reads, and the methods of Driver
//
// The contract between them:
//   - One goroutine at a time calls a Stream. Streams share a [Shared], which is safe for
//     concurrent use.
//   - Prepare comes before each read, and says whether it may take place. If it may, the driver
//     reads into Room and calls Read if bytes have come, or Quiet if there are none to read.
//   - The buffer that Read returns belongs to the driver. It calls Settle, and reads nothing more
//     before it has handed the buffer over, so that a slow receiver holds back the sender.
//   - A driver that may have to wait for long with the buffer calls Quiet first, or GoQuiet for a
//     Held stream, so that the stream keeps no read buffer meanwhile.
//   - Where the driver has to wait, for the gate, for memory or to hand over, it says so by HoldUp
//     and Resume. While it waits for memory, it asks Need how much, and gives it to Replace.
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
//	how large the next read is, who keeps a buffer   room.go; held.go for reads that need one first
//	what is copied when lines leave                  separate in intake.go
//	silent senders, slow lines, the end of a drain   timeouts.go
package intake

import (
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// Driver does for a Stream what takes I/O, and counts. Any goroutine calls Evict, the others are
// called from within the events.
type Driver interface {
	// EnterGate reports whether the stream has a place in the gate, which it gets if that needs no
	// waiting. LeaveGate gives the place back, if it has one. A Held stream needs none.
	EnterGate() bool
	LeaveGate()
	// Evict makes the driver call Obey. It is called with the lock of the budget held, so it must
	// not call the Stream.
	Evict()
	// ReadRest reads what has come behind an unfinished line that is about to be dropped, into
	// RestRoom, calls Read for it, and reports whether that has completed the line. A driver that
	// reads all bytes as soon as they come returns false.
	ReadRest() bool
	// Lost counts lines that will not be delivered, or not whole.
	Lost(Losses)
}

// Options are the settings of a Stream that do not change.
type Options struct {
	Held  bool // its driver's reads need a buffer before there is anything to read
	Timed bool // it has a sender to which timeouts apply; its read buffer is charged while it is awake

	Framing framing.Framing // of what the sender writes
}

// Limits are the settings that may change. They apply to lines of which nothing has been read yet.
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
	size   int             // of the next buffer
	filled bool            // the last read filled its buffer
	began  bool            // the last read has ended a line, so the unfinished one began with it

	awake       bool  // see held.go
	awakeCharge int64 // the charge for the read buffer, in awakeBudget; 0 if not awake
	active      bool  // bytes have come since Deadline was last asked
	excused     bool  // the stream was held up since then

	readOut time.Time // when reading the rest ends; zero until the stream is cut off

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

// Result tells what a read has brought.
type Result struct {
	Whole *linebuf.Buffer // whole lines, to be handed over; the caller owns it. nil: there are none
	Lines int             // in Whole
	Close bool            // the sender is to be closed for a line that is too long, or Uncounted

	Uncounted bool // since no count was where one had to be
}

// Fresh returns the unfinished line with the n bytes that have been read behind it, and the
// length of the former. It is for looking at them before Read, which may move them.
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

// Settle ends what a read began, once its lines have been handed over.
func (s *Stream) Settle() {
	s.Account()
	s.noteLine(s.began)
}

// separate returns a buffer with the first whole bytes of s.buf, and leaves the rest to the stream.
// It copies few bytes out of a large buffer, since otherwise they would hold all of its memory
// until they are confirmed.
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

// smallRest is the largest start of a line, in bytes, that is carried in a buffer of its own size.
// Copying it once more costs nothing, and a thousand busy senders that wait for their turn do not
// hold a read buffer each.
const smallRest = 4 << 10

// bufferFor returns a buffer to carry rest in. It has room for the next read if rest is long and
// there is probably more to read at once.
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
// buffer, which the caller owns. Without an unfinished line it returns nil; so it does if the line
// is counted, and Torn has it.
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

// Torn returns what is lost as the stream ends: the unfinished line, if there is one.
func (s *Stream) Torn() linebuf.Count {
	if rest := s.Unfinished(); rest > 0 {
		return linebuf.Count{Lines: 1, Bytes: uint64(rest)}
	}
	return linebuf.Count{}
}

// End gives everything back. It is the last event.
func (s *Stream) End() {
	s.shared.pool.Put(s.buf)
	s.buf = nil
	s.GoQuiet()
	s.Account()
	s.shared.budget.forget(s)
}
