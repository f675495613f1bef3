package workerpool

import (
	"context"
	"testing"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// Each setting takes effect on open connections, and none of them is lost.
func TestTuneTimeouts(t *testing.T) {
	inBubble(t, "stall timeout", func(t *testing.T) {
		r, a, _ := stalledPair(t, Options{Tuning: Tuning{StallTimeout: time.Hour}})
		r.wantResent(r.pass(10*time.Minute), 0, 0)
		r.pool.Tune(Tuning{StallTimeout: time.Minute})
		if s := r.pass(time.Second); s.Targets[0].Stalls != 1 || s.Targets[0].Failovers != 1 {
			t.Errorf("%+v", s.Targets[0])
		}
		r.wantDials(a, 1)
		r.finish(time.Second)
	})
	inBubble(t, "stall timeout, longer", func(t *testing.T) {
		r, _, _ := stalledPair(t, Options{})
		r.pool.Tune(Tuning{StallTimeout: time.Hour})
		r.wantResent(r.pass(10*time.Minute), 0, 0)
		r.pool.Tune(Tuning{}) // the default
		if s := r.pass(time.Second); s.Targets[0].Stalls != 1 {
			t.Errorf("%+v", s.Targets[0])
		}
		r.finish(time.Second)
	})
	inBubble(t, "dead timeout", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		r := newRig(t, Options{Tuning: Tuning{StallTimeout: time.Hour, DeadTimeout: time.Hour}}, []*peer{a, b}, 0)
		a.conn(0).vanish()
		r.sendFullBuffers()
		r.wantResent(r.pass(time.Minute), 0, 0)
		r.pool.Tune(Tuning{StallTimeout: time.Hour, DeadTimeout: 10 * time.Second})
		r.wantResent(r.pass(time.Second), 100, 0)
		r.finish(time.Second)
	})
	inBubble(t, "failback interval", func(t *testing.T) {
		a, b := newPeer("a"), newPeer("b")
		a.refuse = true
		r := newRig(t, Options{Tuning: Tuning{FailbackInterval: time.Hour}}, []*peer{a, b}, 0)
		r.sendFullBuffers()
		r.pass(5 * time.Minute)
		a.set(func() { a.refuse = false })
		r.pool.Tune(Tuning{FailbackInterval: time.Minute})
		if s := r.pass(time.Second); s.Targets[0].Failbacks != 1 {
			t.Errorf("%+v", s.Targets[0])
		}
		r.finish(time.Second)
		r.wantOnce()
	})
}

func TestTuneResend(t *testing.T) {
	inBubble(t, "resend age", func(t *testing.T) {
		a := newPeer("a")
		r := newRig(t, Options{Tuning: Tuning{ResendAge: time.Hour}}, []*peer{a})
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(time.Minute), 0)
		r.pool.Tune(Tuning{ResendAge: 20 * time.Second})
		r.wantConfirmed(r.pass(time.Second), 100) // it was acknowledged a minute ago
		r.pool.Tune(Tuning{ResendAge: time.Minute})
		r.sendFullBuffers()
		r.wantConfirmed(r.pass(50*time.Second), 100)
		r.wantConfirmed(r.pass(20*time.Second), 200)
		r.wantDials(a, 1)
		r.finish(time.Second)
		r.wantOnce()
	})
	inBubble(t, "resend max", func(t *testing.T) {
		a := newPeer("a")
		a.recvBuf, a.holdReads = 1<<20, true
		r := newRig(t, Options{Tuning: Tuning{ResendMax: 20_000, StallTimeout: time.Hour}}, []*peer{a})
		for range 100 {
			r.send(80, 100)
		}
		r.pass(time.Second)
		before := a.bytes()
		r.pool.Tune(Tuning{ResendMax: 100_000, StallTimeout: time.Hour})
		r.pass(time.Second)
		if n := a.bytes(); before > 40_000 || n < 90_000 || n > 130_000 {
			t.Errorf("%d bytes written first, %d then", before, n)
		}
		r.pool.Tune(Tuning{ResendMax: 20_000, StallTimeout: time.Hour}) // what is held remains
		s := r.pass(time.Second)
		if s.Retained.Lines != s.Taken.Lines {
			t.Errorf("%+v", s)
		}
		a.set(func() { a.holdReads = false })
		r.finish(time.Second)
		r.wantOnce()
	})
}

// Settings that only a dial can apply hold from the next dial on, and follow from the other
// settings.
func TestTuneSetsDialOptions(t *testing.T) {
	a := target.Address{Scheme: target.SchemeTCP, Host: "a:1"}
	p := New(linebuf.NewPool(256<<20), Options{Targets: []target.Address{a}, Tuning: Tuning{ResendMargin: 5}})
	check := func(dead, timeout time.Duration, margin, retain int64) {
		t.Helper()
		d := p.settings.Load().dialOptions()
		if d.DeadTimeout != dead || d.Timeout != timeout || d.Margin != margin || d.Retain != retain {
			t.Errorf("%+v", d)
		}
	}
	check(30*time.Second, 0, 5, 8<<20)
	p.Tune(Tuning{DeadTimeout: time.Second, ResendMargin: 7, ResendMax: 1 << 20,
		DialOptions: target.Options{Timeout: time.Nanosecond}})
	check(time.Second, time.Nanosecond, 7, 1<<20)
	if c, err := p.settings.Load().dial(context.Background(), a); err == nil {
		c.Close()
		t.Error("dialled within a nanosecond")
	}
	p.Tune(Tuning{})
	check(30*time.Second, 0, 0, 8<<20)
}

func TestWindowMaxSharesMemory(t *testing.T) {
	for name, c := range map[string]struct {
		targets int
		o       Options
		memory  int64
		want    int64
	}{
		"enough for all":   {2, Options{Connections: 4, Tuning: Tuning{ResendMax: 8 << 20}}, 256 << 20, 8 << 20},
		"just enough":      {4, Options{Connections: 4, Tuning: Tuning{ResendMax: 8 << 20}}, 256 << 20, 8 << 20},
		"shared by many":   {16, Options{Connections: 4, Tuning: Tuning{ResendMax: 8 << 20}}, 256 << 20, 2 << 20},
		"no bound at all":  {100, Options{Connections: 100, Tuning: Tuning{ResendMax: 8 << 20}}, 0, 8 << 20},
		"the default size": {1, Options{}, 256 << 20, 8 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Targets = make([]target.Address, c.targets)
			p := New(linebuf.NewPool(c.memory), c.o)
			if got := p.settings.Load().windowMax; got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
