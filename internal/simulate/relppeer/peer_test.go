package relppeer

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// add gives a client n records of a sender.
func add(c *Client, sender uint32, n int) {
	g := record.NewGenerator(sender, record.Length{})
	for range n {
		line := g.Append(nil, time.Now())
		c.Add(line[:len(line)-1])
	}
}

func start(t *testing.T) (*Server, *tally.Tally) {
	t.Helper()
	counted := tally.New(tally.Options{})
	s, err := StartServer(counted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, counted
}

// A server that fails in every way gets each line in the end. What it has counted and not responded
// to comes again, and nothing else does but what was sent behind that.
func TestNothingIsLost(t *testing.T) {
	s, counted := start(t)
	s.Fail(5)
	c := Start(s.addr)
	const lines = 6000
	for i := range uint32(3) {
		add(c, 10+i, lines/3)
		s.Stop()
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
	}
	c.End()
	r := counted.Report(map[uint32]uint64{10: lines / 3, 11: lines / 3, 12: lines / 3})
	if r.Lost+r.Corrupt+r.NeverSent > 0 || c.Answered() != lines || c.Waiting() != 0 {
		t.Errorf("%+v; %d responses, %d lines wait", r, c.Answered(), c.Waiting())
	}
	if s.Lost() == 0 || r.Duplicated < s.Lost() || c.Repeated() < r.Duplicated {
		t.Errorf("%d lines counted without a response, %d came again, %d were sent again", s.Lost(), r.Duplicated, c.Repeated())
	}
}

// A healthy server gets each line once.
func TestNothingIsRepeated(t *testing.T) {
	s, counted := start(t)
	c := Start(s.addr)
	add(c, 1, 1000)
	c.End()
	if r := counted.Report(map[uint32]uint64{1: 1000}); r.Err() != nil || r.Duplicated+c.Repeated() > 0 {
		t.Errorf("%+v; %d repeated", r, c.Repeated())
	}
}

// Close ends a client whatever it waits for.
func TestClose(t *testing.T) {
	s, _ := start(t)
	c := Start(s.addr)
	c.Close()
	s.Stop()
	c = Start(s.addr) // refused
	add(c, 1, 1)
	c.Close()
	if c.Waiting() != 1 {
		t.Error("a line has gone")
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
}
