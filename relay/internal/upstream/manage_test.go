package upstream

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

func TestUnknownTargetIsAnError(t *testing.T) {
	r := newTestSet(Options{Targets: []*target.Target{newTarget(t, "10.0.0.1:80")}})
	for what, err := range map[string]error{
		"drain":  r.Drain("tcp://10.0.0.2:80"),
		"resume": r.Resume("tcp://10.0.0.2:80"),
		"remove": r.Remove("tcp://10.0.0.2:80", 0),
		"weight": r.SetWeight("tcp://10.0.0.2:80", 2),
	} {
		if !errors.Is(err, target.ErrUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, weight := range []int{-1, 0, maxWeight + 1} {
		if err := r.SetWeight("tcp://10.0.0.1:80", weight); err == nil || errors.Is(err, target.ErrUnknown) {
			t.Errorf("weight %d: %v", weight, err)
		}
	}
}

// TestLastTargetCannotBeRemoved also covers the last one of a kind that takes clients.
func TestLastTargetCannotBeRemoved(t *testing.T) {
	const a, b, u = "tcp://10.0.0.1:80", "tcp://10.0.0.2:80", "udp://10.0.0.1:80"
	newBackends := func() *Backends {
		return newTestSet(Options{Targets: []*target.Target{newTarget(t, a), newTarget(t, b), newTarget(t, u)}})
	}
	r := newBackends()
	if err := r.Remove(u, 0); !errors.Is(err, target.ErrLast) {
		t.Errorf("the only target for datagrams: %v", err)
	}
	must(t, r.Remove(a, 0))
	if err := r.Remove(b, 0); !errors.Is(err, target.ErrLast) {
		t.Errorf("the only target for streams: %v", err)
	}
	r = newBackends()
	must(t, r.Drain(a))
	if err := r.Remove(b, 0); !errors.Is(err, target.ErrLast) {
		t.Errorf("the only target that takes clients: %v", err)
	}
	must(t, r.Drain(b))
	must(t, r.Remove(b, 0))
	if err := r.Remove(a, 0); !errors.Is(err, target.ErrLast) {
		t.Errorf("the only target: %v", err)
	}
	if got := r.names(); !slices.Equal(got, []string{a, u}) {
		t.Errorf("%v", got)
	}
}

func TestReconfigureMakesAllOfAChangeOrNothing(t *testing.T) {
	const a, b, c, u = "tcp://10.0.0.1:80", "tcp://10.0.0.2:80", "tcp://10.0.0.3:80", "udp://10.0.0.1:80"
	for _, tt := range []struct {
		name   string
		before func(*Backends) error
		change Change
		err    error
		want   []string
	}{
		{name: "one for another",
			change: Change{Add: []*target.Target{newTarget(t, c)}, Remove: []string{a, b}, Balance: Random},
			want:   []string{u, c}},
		{name: "targets that are in place",
			change: Change{Add: []*target.Target{newTarget(t, b)}, Remove: []string{a, c}, Weights: map[string]int{b: 3, c: 2}},
			want:   []string{b, u}},
		{name: "the last for streams",
			change: Change{Remove: []string{a, b}, Balance: Random, Tuning: traffic.Tuning{MaxConnections: 7}},
			err:    target.ErrLast},
		{name: "the last for datagrams",
			change: Change{Add: []*target.Target{newTarget(t, c)}, Remove: []string{u}}, err: target.ErrLast},
		{name: "the last that takes clients", before: func(r *Backends) error { return r.Drain(a) },
			change: Change{Add: []*target.Target{newTarget(t, a)}, Remove: []string{b}}, err: target.ErrLast},
		{name: "no such balance", change: Change{Remove: []string{a}, Balance: "?"}, err: errors.New("any")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTestSet(Options{
				Targets: []*target.Target{newTarget(t, a), newTarget(t, b), newTarget(t, u)},
				Balance: LeastConnections,
			})
			if tt.before != nil {
				must(t, tt.before(r))
			}
			err := r.Reconfigure(tt.change)
			if tt.err == nil && err != nil || tt.err != nil && err == nil || tt.err == target.ErrLast && !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				got, limit := r.names(), r.settings.Load().MaxConnections
				if !slices.Equal(got, []string{a, b, u}) || r.balanceName() != LeastConnections || limit != 0 {
					t.Errorf("%v, %v after an error", got, r.balanceName())
				}
				return
			}
			if got := r.names(); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if w, ok := tt.change.Weights[b]; ok && r.statsOf(r.names()[0]).Weight != w {
				t.Errorf("%+v", r.statsOf(r.names()[0]))
			}
			if tt.change.Balance != "" && r.balanceName() != tt.change.Balance {
				t.Errorf("balance %s", r.balanceName())
			}
		})
	}
}

// TestRemoveExpelsAfterTheGivenTime also changes that time by Resume and another Remove.
func TestRemoveExpelsAfterTheGivenTime(t *testing.T) {
	const a, b = "tcp://10.0.0.1:80", "tcp://10.0.0.2:80"
	synctest.Test(t, func(t *testing.T) {
		r := newTestSet(Options{Targets: []*target.Target{newTarget(t, a), newTarget(t, b)}})
		p := r.Streams.TryAcquire(netip.Addr{}, nil)
		expelledAfter := func(d time.Duration, want bool) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if p.expelled.Load() != want {
				t.Errorf("after %v: expelled %v", d, !want)
			}
		}
		must(t, r.Remove(a, time.Hour))
		expelledAfter(time.Hour-1, false)
		must(t, r.Resume(a))
		expelledAfter(time.Hour, false)
		must(t, r.Remove(a, time.Minute))
		expelledAfter(time.Minute-1, false)
		must(t, r.Remove(a, time.Hour))
		r.expire(p) // as the timer of one minute does if it fires just before Remove
		expelledAfter(time.Hour-1, false)
		expelledAfter(1, true)
		r.Release(p)
		if got := r.names(); !slices.Equal(got, []string{b}) || p.expiry != nil {
			t.Errorf("%v", got)
		}
		if err := r.Resume(a); !errors.Is(err, target.ErrUnknown) {
			t.Errorf("after the removal: %v", err)
		}
	})
}

// TestSetWeightChangesSharesAtOnce sets a weight right after a light target has had its one turn in
// thousands.
func TestSetWeightChangesSharesAtOnce(t *testing.T) {
	const a, b = "tcp://10.0.0.1:80", "tcp://10.0.0.2:80"
	for _, balance := range []string{RoundRobin, LeastConnections, SourceHash} {
		r := newTestSet(Options{Targets: []*target.Target{newTarget(t, a), newTarget(t, b)}})
		must(t, r.SetBalance(balance))
		must(t, r.SetWeight(a, 10000))
		for i := 0; r.statsOf(b).Active == 0; i++ {
			r.Streams.TryAcquire(addr(i), nil)
		}
		for _, p := range r.all {
			p.active.Store(0)
		}
		must(t, r.SetWeight(a, 3))
		n := 0
		const clients = 2000
		for i := range clients {
			if p := r.Streams.TryAcquire(addr(i), nil); p.Target.String() == a {
				n++
			}
		}
		if share := float64(n) / clients; share < 0.70 || share > 0.80 {
			t.Errorf("%s: %.2f of the clients, want three quarters", balance, share)
		}
		if s := r.statsOf(a); s.Weight != 3 || r.balanceName() != balance {
			t.Errorf("%+v", s)
		}
	}
}

func TestLastErrorStaysWhenTheTargetIsUpAgain(t *testing.T) {
	r := newTestSet(Options{Targets: []*target.Target{newTarget(t, "10.0.0.1:80")}})
	if s := r.statsOf(r.names()[0]); s.State != target.StateUnknown || s.LastError != "" || !s.LastErrorAt.IsZero() {
		t.Errorf("%+v", s)
	}
	r.all[0].Target.DialFailed(io.EOF)
	r.all[0].Target.DialSucceeded()
	if s := r.statsOf(r.names()[0]); s.State != target.StateUp || s.LastError != "EOF" ||
		s.LastErrorAt.IsZero() || s.Since.Before(s.LastErrorAt) {
		t.Errorf("%+v", s)
	}
}
