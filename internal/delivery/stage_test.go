package delivery

import (
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// stage is one machine with its targets, inside a synctest bubble. The test ends its dials, says
// what a connection reports, and lets time pass.
type stage struct {
	t       *testing.T
	shared  *Shared
	buffers *linebuf.Pool
	targets []*Backend
	m       *Machine
	dialled *Backend    // the dial under way is to
	conns   []*toldConn // all that there ever were
}

// toldConn reports what the test tells it to. Unless it holds, everything written has been read.
type toldConn struct {
	told    target.Progress
	written int
	holds   bool   // nothing more is acknowledged
	guesses bool   // it estimates what has been read
	slack   uint64 // bytes that the receiver's TLS may hold
	looks   int
	closed  bool
}

func (c *toldConn) Progress() target.Progress {
	c.looks++
	c.told.Written = uint64(c.written)
	if !c.holds {
		c.told.Acked = c.told.Written
	}
	if c.guesses {
		c.told.Hidden = math.MaxUint64
	} else {
		known := c.told.Acked - min(c.slack, c.told.Acked)
		c.told.Exact, c.told.Read, c.told.Known = true, known, known
	}
	return c.told
}

func (c *toldConn) CloseWrite() error { return nil }
func (c *toldConn) Abort()            { c.closed = true }
func (c *toldConn) Close()            { c.closed = true }

// onStage connects a machine to the first of n targets, lets the first second pass, and calls f in
// a bubble.
func onStage(t *testing.T, n int, f func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newStage(t, n)) })
}

func newStage(t *testing.T, n int) *stage {
	s := &stage{t: t, buffers: linebuf.NewPool(0)}
	logger := slog.New(slog.DiscardHandler)
	s.shared = NewShared(s.buffers, discard{}, logger, func(int) int { return 0 })
	s.shared.SetSettings(&Settings{StallTimeout: 30 * time.Second, DeadTimeout: 30 * time.Second, FailbackInterval: time.Hour,
		FailbackProbe: time.Hour, ResendAge: 10 * time.Second, WindowMax: 8 << 20})
	for i := range n {
		host := string(rune('a'+i)) + ":1"
		s.targets = append(s.targets, NewBackend(target.Address{Scheme: target.SchemeTCP, Host: host}, logger))
	}
	s.shared.SetBackends(NewBackends(s.targets))
	s.m = New(s.shared, s, s.targets[0], 0)
	s.m.Begin(time.Now())
	s.connect()
	s.pass(halfCloserWithin)
	return s
}

// Dial is the action of the machine.
func (s *stage) Dial(b *Backend) { s.dialled = b }

// connect ends the dial under way and returns its connection.
func (s *stage) connect() *toldConn {
	s.t.Helper()
	if s.dialled == nil {
		s.t.Fatal("no dial is under way")
	}
	c, b := &toldConn{}, s.dialled
	s.conns, s.dialled = append(s.conns, c), nil
	s.m.Dialled(b, c, nil, time.Now())
	return c
}

// out returns the present connection.
func (s *stage) out() *toldConn { return s.m.out.conn.(*toldConn) }

// pass lets time pass in ticks.
func (s *stage) pass(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		time.Sleep(target.Tick)
		s.m.Tick(time.Now())
	}
}

// send delivers one line.
func (s *stage) send() {
	s.t.Helper()
	if !s.m.Wants() {
		s.t.Fatal("the machine wants no lines")
	}
	b := s.buffers.MustGet(512)
	b.B, b.Lines, b.Read = append(b.B, "line\n"...), 1, time.Now()
	s.m.Take(b)
	c, p := s.m.Writing()
	c.(*toldConn).written += len(p)
	s.m.Wrote(len(p), nil, time.Now())
}
