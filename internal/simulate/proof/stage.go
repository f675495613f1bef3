package proof

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

// How long things may take that must happen sooner or later. A proxy that loses nothing never makes anybody wait for these.
const (
	patience  = 20 * time.Second
	quiet     = 2 * time.Second // without a new byte, when the senders have ended: no more will come by itself
	farewell  = 3 * time.Second // for targets to read to the end once the proxy is gone
	handLimit = 30 * time.Second
)

const (
	lookEvery     = 5 * time.Millisecond
	markEvery     = 50 * time.Millisecond
	aftermath     = time.Second
	progressEvery = 100 * time.Millisecond
)

// stage is what a scenario plays on: targets, a proxy before them, senders before that, and an account of the lines.
//
// Errors stick: the first thing that goes wrong is kept in err, and from then on whatever is asked of the stage does nothing. So scenarios read
// as what happens. It belongs to the goroutine of Run.
type stage struct {
	ctx context.Context
	o   Options
	scenario
	id  identity
	dir string // for this scenario's files
	at  Progress

	err     error   // nil while all is well
	verdict Verdict // that goes with err

	tally   *tally.Tally
	targets []*sink.Sink
	island  *island  // of the first target; nil: it is where all are
	listen  []string // addresses for proxies, from the one that senders connect to towards the targets
	proxies []*proxy // in this order; nil where one has been told to end
	between *proxy   // in front of the targets; nil: nothing
	peak    peak     // of proxies

	senders []*sender
	byHand  []net.Conn        // connections to the proxy that are not a sender's
	sent    map[uint32]uint64 // by number of the sender, of those that have ended and by hand
	strange uint64            // lines that are no records, and that a proxy may pass on
	nextID  uint32

	marks     []mark // not reached yet, in order
	marked    time.Time
	markUntil time.Time
	recovery  time.Duration // the longest from a mark until it was reached
	measured  bool          // recovery is of use

	staged string
	shown  time.Time // when progress was
}

// mark is a moment, and what had been sent by then. It is reached when all of that has been read.
type mark struct {
	since time.Time
	sent  map[uint32]uint64
}

func newStage(ctx context.Context, o Options, s scenario, id identity, at Progress) *stage {
	return &stage{ctx: ctx, o: o, scenario: s, id: id, at: at, verdict: OK,
		// A proxy that forwards bytes passes an unfinished last line on with the end of its connection, as it came. Strict, since the first
		// half of a record is none, and with a newline it looks like any line.
		tally: tally.New(tally.Options{EndEndsLine: !o.Own, Strict: true}),
		sent:  make(map[uint32]uint64)}
}

// fail keeps the first error.
func (s *stage) fail(v Verdict, format string, args ...any) {
	if s.err == nil {
		s.verdict, s.err = v, fmt.Errorf(format, args...)
	}
}

func (s *stage) failed() bool { return s.err != nil }

// size chooses between the full form of a scenario and the short one.
func (s *stage) size(full, short int) int {
	if s.o.Short {
		return short
	}
	return full
}

// stages says what was staged, and whether that really was so.
func (s *stage) stages(really bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !really {
		s.fail(Unproven, "not as it was meant to be: %s", text)
	}
	if !s.failed() {
		s.staged = text
	}
}

// inTurn ends one target after the other, while lines reach it, and brings it back a moment later.
func (s *stage) inTurn(rounds int, end func(*sink.Sink)) {
	for i := range rounds {
		if s.failed() {
			return
		}
		t := s.targets[i%len(s.targets)]
		s.flowTo(t, 400)
		if s.failed() {
			return
		}
		end(t)
		s.recovers()
		s.sleep(100 * time.Millisecond)
		s.restart(t)
	}
	s.flow(400)
}

func (s *stage) restart(t *sink.Sink) {
	if s.failed() {
		return
	}
	if err := t.Restart(); err != nil {
		s.fail(Unproven, "start a target again: %w", err)
	}
}

// shutdown ends a target in order.
func (s *stage) shutdown(t *sink.Sink) {
	ctx, cancel := context.WithTimeout(s.ctx, s.o.patience)
	defer cancel()
	if err := t.Shutdown(ctx); err != nil && s.o.Own {
		s.fail(Failed, "a target that ended in order: %w", err)
	}
}

// write writes to a connection made by hand, and returns how many bytes its kernel took.
func (s *stage) write(conn net.Conn, b []byte) int {
	if s.failed() {
		return 0
	}
	conn.SetDeadline(time.Now().Add(handLimit))
	n, err := conn.Write(b)
	if err != nil {
		s.fail(Failed, "the proxy broke a sender's connection: %w", err)
	}
	return n
}

// dial connects to the proxy. The stage closes the connection at its end.
func (s *stage) dial() (conn *net.TCPConn, ok bool) {
	if s.failed() {
		return nil, false
	}
	c, err := net.DialTimeout("tcp", s.listen[0], startLimit)
	if err != nil {
		s.fail(Failed, "the proxy takes no connection: %w", err)
		return nil, false
	}
	s.byHand = append(s.byHand, c)
	return c.(*net.TCPConn), true
}

// records writes n records of a new sender, whose number it returns. The last one has no newline if it is unterminated.
func (s *stage) records(conn net.Conn, n int, unterminated bool) (id uint32) {
	id = s.newSender()
	b := appendRecords(nil, record.NewGenerator(id, record.Length{}), n)
	if !unterminated {
		s.sent[id] = uint64(bytes.Count(b[:s.write(conn, b)], newline))
		return id
	}
	taken := s.write(conn, b[:len(b)-1])
	if taken == len(b)-1 {
		taken++
	}
	s.sent[id] = uint64(bytes.Count(b[:taken], newline))
	return id
}

// appendRecords appends n records, each with its newline, to b.
func appendRecords(b []byte, g *record.Generator, n int) []byte {
	for range n {
		b = g.Append(b, time.Now())
	}
	return b
}

var newline = []byte{'\n'} // read-only

// newSender returns a number that no sender has, nor any of the next thousands.
func (s *stage) newSender() uint32 {
	s.nextID += 1 << 16
	return s.nextID
}
