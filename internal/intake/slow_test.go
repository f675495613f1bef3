package intake

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"linesplit/linebuf"
)

// sender is a stream with a driver that obeys the budget in its next turn.
type sender struct {
	passive
	Stream
	lost int // lines
}

func (s *sender) Lost(l Losses) { s.lost += int(l.Lines()) }

func (s *sender) begin(shared *Shared, now time.Time) {
	s.Init(shared, s, Options{Timed: true}, Limits{MaxLine: 1 << 20}, now)
}

// turn obeys the budget, and reads up to n bytes; with end, the last one is a newline.
func (s *sender) turn(n int, end bool, now time.Time) (read int) {
	s.Obey()
	s.Account()
	if n == 0 {
		return 0
	}
	if s.Prepare() == Starved {
		if s.Need(); s.Prepare() == Starved {
			return 0
		}
	}
	room := s.Room()
	n = min(n, len(room))
	clear(room[:n])
	if end {
		room[n-1] = '\n'
	}
	r := s.Read(n, Limits{MaxLine: 1 << 20}, now)
	s.shared.pool.Put(r.Whole)
	s.Settle()
	s.Quiet()
	return n
}

// crowd is a number of senders whose long lines come at once, one after the other, and stay
// unfinished.
type crowd struct {
	rnd     *rand.Rand
	shared  *Shared
	senders []*sender
	left    []int // of each sender's line, in bytes
	next    int   // sender to begin a line
}

func newCrowd(senders int, memory int64, now time.Time) *crowd {
	c := &crowd{rnd: rand.New(rand.NewPCG(1, 1)), left: make([]int, senders)}
	c.shared = NewShared(linebuf.NewPool(memory), 16<<10, 128<<10, now)
	c.shared.SetMaxLine(1 << 20)
	for range senders {
		s := &sender{}
		s.begin(c.shared, now)
		c.senders = append(c.senders, s)
	}
	return c
}

// step lets each sender read once if there is something, and begins some lines.
func (c *crowd) step(begins int, now time.Time) {
	for range begins {
		i := c.next % len(c.senders)
		c.next++
		c.senders[i].turn(1, true, now) // ends the line before
		c.left[i] = int(math.Exp(c.rnd.Float64() * math.Log(1<<20-3)))
	}
	for i, s := range c.senders {
		if c.left[i] > 0 || s.Asked() {
			c.left[i] -= s.turn(c.left[i], false, now)
		}
	}
}

func (c *crowd) lost() (lines int) {
	for _, s := range c.senders {
		lines += s.lost
	}
	return lines
}

// Beside 2,000 senders that began long lines at once, senders of a byte each 5 ms lost a third of
// their lines of 100 to 200 bytes, some 120 ms after these had last made headway.
func TestSlowShortLinesStayBesideManyLongOnes(t *testing.T) {
	const (
		step     = time.Millisecond
		pause    = 5 // steps
		duration = 2000
		length   = 150
	)
	now := time.Now()
	c := newCrowd(200, 16<<20, now)
	var slow sender
	slow.begin(c.shared, now)
	sent := 0
	for i := range duration {
		now = now.Add(step)
		c.step(1, now)
		switch {
		case i%pause != 0:
			slow.turn(0, false, now)
		case i/pause%length == length-1:
			sent++
			slow.turn(1, true, now)
		default:
			slow.turn(1, false, now)
		}
	}
	if slow.lost > 0 || c.lost() < duration/4 {
		t.Errorf("the slow sender lost %d of %d lines, and the others %d", slow.lost, sent, c.lost())
	}
}
