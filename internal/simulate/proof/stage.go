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
	"linesplit/internal/simulate/websink"
)

// Limits of what must happen sooner or later. A proxy that loses nothing never reaches them.
const (
	patience   = 20 * time.Second
	quiet      = 2 * time.Second // without a new byte after the senders have ended: no more will arrive
	drainLimit = 3 * time.Second // for targets to read to the end, after the proxy has ended
	writeLimit = 30 * time.Second
)

const (
	pollEvery        = 5 * time.Millisecond
	checkpointEvery  = 50 * time.Millisecond
	checkpointWindow = time.Second
	progressEvery    = 100 * time.Millisecond
)

// stage runs a scenario: it has the targets, the proxies, the senders and the account of the
// lines.
//
// The first error sticks: it is kept in err, and from then on the methods do nothing, so that
// scenarios need no error handling. The stage belongs to the goroutine of Run.
type stage struct {
	ctx context.Context
	o   Options
	scenario
	id       identity
	dir      string // for the files of this scenario
	progress Progress

	err     error   // first error
	verdict Verdict // verdict for err

	tally   *tally.Tally
	targets []*sink.Sink
	store   *websink.Store // of web
	acking  []ackingTarget // in place of targets, in some scenarios
	netns   *netns         // namespace of the first target; may be nil
	listen  []string       // addresses of proxies, from the senders' end to the targets' end
	proxies []*proxy       // by address; nil if told to end
	admin   string         // where the proxy started last serves its counts, if it does
	haproxy *proxy         // in front of the targets; may be nil
	disk    string         // directory of a small disk that the proxy has; may be empty
	peak    peak           // of the proxies

	senders        []*sender
	relpSenders    []*relpSender
	relpListen     string            // address of the proxy for them
	manualConns    []net.Conn        // connections to the proxy that belong to no sender
	sent           map[uint32]uint64 // by sender number; of manual connections, and of senders that have ended
	foreignAllowed uint64            // lines that are no records and that a proxy may forward
	nextID         uint32
	kills          []kill // of proxies
	cutOff         uint64 // connections that kills ended at targets, perhaps in the middle of a line

	checkpoints      []checkpoint // not reached yet, in order
	lastCheckpoint   time.Time
	checkpointsUntil time.Time
	recovery         time.Duration // longest time from a checkpoint until it was reached
	measured         bool          // the scenario measures recovery

	staged  string
	shownAt time.Time // time of the last progress
}

// checkpoint records what had been sent at some time. It is reached when all of that has been
// read.
type checkpoint struct {
	since time.Time
	sent  map[uint32]uint64
}

// ackingTarget is a target that acknowledges lines. It counts those that it has taken in the tally.
type ackingTarget interface {
	Target() string // as -target takes it
	Bytes() uint64  // of lines that it has read
	Stop()          // ends it and all its connections at once
	Listen() error  // starts it again where it was
	// Fail makes it fail at random, in all ways that it knows; a seed of 0 ends that.
	Fail(seed uint64)
}

func newStage(ctx context.Context, o Options, s scenario, id identity, at Progress) *stage {
	return &stage{ctx: ctx, o: o, scenario: s, id: id, progress: at, verdict: OK,
		// A proxy that forwards bytes also forwards an unfinished last line, unchanged, with the
		// end of its connection. The tally is strict, because half a record is not a record and,
		// with a newline, looks like any other line.
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

// size returns the number for the full form of a scenario, or for the short one.
func (s *stage) size(full, short int) int {
	if s.o.Short {
		return short
	}
	return full
}

// recordStaged describes what was staged. The scenario proves nothing unless ok is true.
func (s *stage) recordStaged(ok bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !ok {
		s.fail(Unproven, "the fault was not staged as intended: %s", text)
	}
	if !s.failed() {
		s.staged = text
	}
}

// eachInTurn ends one target after the other while it receives lines, and restarts it a moment
// later.
func (s *stage) eachInTurn(rounds int, end func(*sink.Sink)) {
	for i := range rounds {
		if s.failed() {
			return
		}
		t := s.targets[i%len(s.targets)]
		s.awaitLinesAt(t, 400)
		if s.failed() {
			return
		}
		end(t)
		s.startRecovery()
		s.sleep(100 * time.Millisecond)
		s.restart(t)
	}
	s.awaitLines(400)
}

func (s *stage) restart(t *sink.Sink) {
	if s.failed() {
		return
	}
	if err := t.Restart(); err != nil {
		s.fail(Unproven, "restart a target: %w", err)
	}
}

// shutdown ends a target in an orderly way.
func (s *stage) shutdown(t *sink.Sink) {
	ctx, cancel := context.WithTimeout(s.ctx, s.o.patience)
	defer cancel()
	if err := t.Shutdown(ctx); err != nil && s.o.Own {
		s.fail(Failed, "shut down a target: %w", err)
	}
}

// write writes to a manual connection, and returns how many bytes its kernel has accepted.
func (s *stage) write(conn net.Conn, b []byte) int {
	if s.failed() {
		return 0
	}
	conn.SetDeadline(time.Now().Add(writeLimit))
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
		s.fail(Failed, "connect to the proxy: %w", err)
		return nil, false
	}
	s.manualConns = append(s.manualConns, c)
	return c.(*net.TCPConn), true
}

// writeRecords writes n records of a new sender, and returns the sender's number. If unterminated
// is set, the last one has no newline.
func (s *stage) writeRecords(conn net.Conn, n int, unterminated bool) (id uint32) {
	id = s.newSenderID()
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

// newSenderID returns an unused sender number that is followed by thousands of unused ones.
func (s *stage) newSenderID() uint32 {
	s.nextID += 1 << 16
	return s.nextID
}
