package relay

import (
	"net"
	"testing"
	"time"

	"linesplit/relay/internal/traffic"
)

// A side is silent while it neither sends nor takes, unless the other one holds it up.
func TestSidesAreSilentEachForItself(t *testing.T) {
	const second = time.Second
	begin := time.Now()
	type step struct {
		at                             time.Duration
		in, out, inWaiting, outWaiting int64
		client, target                 time.Duration
	}
	for name, steps := range map[string][]step{
		"nothing at all": {{0, 0, 0, 0, 0, 0, 0}, {second, 0, 0, 0, 0, second, second}},
		"the client sends, the target takes": {
			{0, 0, 0, 0, 0, 0, 0}, {second, 5, 0, 0, 0, 0, 0}, {2 * second, 5, 0, 0, 0, second, second}},
		"the target sends, the client takes": {
			{0, 0, 0, 0, 0, 0, 0}, {second, 0, 5, 0, 0, 0, 0}, {2 * second, 0, 5, 0, 0, second, second}},
		"the target takes nothing": {
			{0, 0, 0, 0, 0, 0, 0}, {second, 5, 0, 5, 0, 0, second}, {2 * second, 9, 0, 9, 0, 0, 2 * second},
			{3 * second, 9, 0, 9, 0, 0, 3 * second}, {4 * second, 9, 0, 8, 0, 0, 0}, {5 * second, 9, 0, 0, 0, second, 0}},
		"the client takes nothing": {
			{0, 0, 0, 0, 0, 0, 0}, {second, 0, 5, 0, 5, second, 0}, {2 * second, 0, 5, 0, 5, 2 * second, 0},
			{3 * second, 1, 5, 0, 5, 0, 0}, {4 * second, 1, 5, 0, 0, 0, second}},
	} {
		var s sides
		for i, x := range steps {
			client, target := s.look(begin.Add(x.at), x.in, x.out, x.inWaiting, x.outWaiting)
			if client != x.client || target != x.target {
				t.Errorf("%s, step %d: %v, %v, want %v, %v", name, i, client, target, x.client, x.target)
			}
		}
	}
}

type fixedFlow int64

func (f fixedFlow) Moved() int64   { return int64(f) }
func (f fixedFlow) Waiting() int64 { panic("a system call without need") }

func TestNoSideIsLookedAtWithoutATimeout(t *testing.T) {
	s := new(sides)
	if why := checkSides(&s, time.Now(), &Tuning{IdleTimeout: 1}, fixedFlow(0), fixedFlow(0)); why != traffic.NotEnded || s != nil {
		t.Errorf("%v, %v", why, s)
	}
}

func TestIdleTimeoutsOfSides(t *testing.T) {
	const timeout = 2 * time.Second // four times what the test sleeps: a starved machine sleeps longer
	for name, set := range map[string]Tuning{
		"client-idle": {ClientIdleTimeout: timeout, TargetIdleTimeout: time.Hour},
		"target-idle": {ClientIdleTimeout: time.Hour, TargetIdleTimeout: timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Options{Tuning: set}, serve(t, discard).name())
			c := r.dial()
			for range 6 { // a stream in one direction goes on for longer than the timeout
				c.Write([]byte("x"))
				time.Sleep(timeout / 4)
			}
			wantReset(t, c)
			if rec := r.log.one(t); rec.End != name {
				t.Errorf("%+v", rec)
			}
		})
	}
	t.Run("a target that takes nothing", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		defer close(release)
		s := serve(t, func(c net.Conn) { <-release })
		r := start(t, Options{Tuning: Tuning{ClientIdleTimeout: timeout / 8, TargetIdleTimeout: timeout}}, s.name())
		c := r.dial()
		go func() {
			block := make([]byte, 1<<20)
			for {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}()
		eventually(t, "the end", func() bool { return len(r.log.get()) == 1 })
		if rec := r.log.one(t); rec.End != "target-idle" {
			t.Errorf("%+v", rec)
		}
	})
}
