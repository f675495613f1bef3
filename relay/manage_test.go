package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testcert"
	"linesplit/target"
)

// targetStats returns the stats of a target, or none if it does not exist.
func (r *Relay) targetStats(name string) TargetStats {
	for _, t := range r.Stats().Targets {
		if t.Name == name {
			return t
		}
	}
	return TargetStats{}
}

func (r *Relay) names() (names []string) {
	for _, t := range r.Stats().Targets {
		names = append(names, t.Name)
	}
	return names
}

// connect connects to the relay and waits for an echo through it.
func (r *rig) connect() net.Conn {
	r.t.Helper()
	c := r.dial()
	exchange(r.t, c, "hello")
	return c
}

// wantReset waits until a client is reset.
func wantReset(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestAddedTargetGetsItsShare(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, a.name())
	must(t, r.Add(newTarget(t, b.name()+"?weight=3&backup=false")))
	if err := r.Add(newTarget(t, b.name())); !errors.Is(err, target.ErrExists) {
		t.Errorf("again: %v", err)
	}
	for range 8 {
		r.connect()
	}
	if a.accepted.Load() != 2 || b.accepted.Load() != 6 {
		t.Errorf("%d and %d clients", a.accepted.Load(), b.accepted.Load())
	}
	if got := r.names(); !slices.Equal(got, []string{a.name(), b.name()}) {
		t.Errorf("%v", got)
	}
	if s := r.targetStats(b.name()); s.Weight != 3 || s.Backup || s.State != target.StateUp ||
		s.Active != 6 || s.Total != 6 {
		t.Errorf("%+v", s)
	}
}

func TestAddServesTheQueue(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: time.Minute}}, a.name()+"?max-connections=1")
	r.connect()
	waiting := r.dial()
	eventually(t, "a client waits", func() bool { return r.Stats().Waiting == 1 })
	must(t, r.Add(newTarget(t, b.name())))
	exchange(t, waiting, "hello")
}

func TestDrainingTargetKeepsItsConnectionsAndGetsNoMore(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, a.name(), b.name())
	first, _ := r.connect(), r.connect()
	before := time.Now().Truncate(time.Millisecond)
	must(t, r.Drain(a.name()))
	must(t, r.Drain(a.name()))
	for range 4 {
		r.connect()
	}
	exchange(t, first, "still there")
	if a.accepted.Load() != 1 || b.accepted.Load() != 5 {
		t.Errorf("%d and %d clients", a.accepted.Load(), b.accepted.Load())
	}
	if s := r.targetStats(a.name()); s.State != target.StateDraining || s.Since.Before(before) ||
		s.Active != 1 || s.Removing {
		t.Errorf("%+v", s)
	}
	first.Close()
	eventually(t, "it is drained", func() bool { return r.targetStats(a.name()).State == target.StateDrained })
	must(t, r.Resume(a.name()))
	for range 4 {
		r.connect()
	}
	if s := r.targetStats(a.name()); s.State != target.StateUp || s.Total != 3 {
		t.Errorf("%+v", s)
	}
}

// Clients do not wait for a target that is drained, and Resume ends the refusals.
func TestDrainingTheLastTargetRefusesClients(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: time.Minute}}, s.name()+"?max-connections=1")
	there := r.connect()
	must(t, r.Drain(s.name()))
	if err := r.refusal(); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if rec := r.log.one(t); rec.End != "no-target" || rec.Dials != 0 {
		t.Errorf("%+v", rec)
	}
	there.Close()
	eventually(t, "it is drained", func() bool { return r.targetStats(s.name()).State == target.StateDrained })
	must(t, r.Resume(s.name()))
	r.connect()
}

func TestResumeServesTheQueue(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: time.Minute}}, a.name()+"?max-connections=1", b.name())
	must(t, r.Drain(b.name()))
	r.connect()
	waiting := r.dial()
	eventually(t, "a client waits", func() bool { return r.Stats().Waiting == 1 })
	must(t, r.Resume(b.name()))
	exchange(t, waiting, "hello")
}

// TestRemoveResetsConnectionsWhenTheTimeIsUp also checks that sums over all targets go on.
func TestRemoveResetsConnectionsWhenTheTimeIsUp(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, a.name(), b.name())
	first, other, second := r.connect(), r.connect(), r.connect()
	must(t, r.Remove(a.name(), time.Hour))
	exchange(t, first, "still there")
	if s := r.targetStats(a.name()); s.State != target.StateDraining || !s.Removing || s.Active != 2 {
		t.Errorf("%+v", s)
	}
	if len(r.Targets()) != 1 {
		t.Error("Targets lists a target that is being removed")
	}
	first.Close()
	eventually(t, "one is left", func() bool { return r.targetStats(a.name()).Active == 1 && len(r.log.get()) == 1 })
	must(t, r.Remove(a.name(), 0))
	wantReset(t, second)
	eventually(t, "it is removed", func() bool {
		return slices.Equal(r.names(), []string{b.name()}) && len(r.log.get()) == 2
	})
	exchange(t, other, "still there")
	s := r.Stats()
	want := RemovedStats{Targets: 1, Total: 2, BytesIn: 21, BytesOut: 21}
	if s.Removed != want || s.Expelled != 1 || s.CutOff != 0 {
		t.Errorf("%+v, %d expelled, %d cut off", s.Removed, s.Expelled, s.CutOff)
	}
	for i, want := range []string{"client-closed", "target-removed"} {
		if rec := r.log.get()[i]; rec.End != want || rec.Target != a.name() {
			t.Errorf("%+v", rec)
		}
	}
	must(t, r.Add(newTarget(t, a.name())))
	r.connect()
	r.connect()
	if s := r.targetStats(a.name()); s.Total != 1 || s.Latency <= 0 {
		t.Errorf("it was added again with %+v", s)
	}
}

func TestAddResumesATargetThatIsBeingRemoved(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, a.name(), b.name())
	c := r.connect()
	must(t, r.Remove(a.name(), time.Hour))
	otherOption := newTarget(t, a.name()+"?backup=true")
	if err := r.Add(otherOption); err == nil || errors.Is(err, target.ErrExists) {
		t.Errorf("with another option: %v", err)
	}
	change := Change{Add: []*target.Target{otherOption}, Balance: Random}
	if err := r.Reconfigure(change); err == nil || r.Stats().Balance == Random {
		t.Errorf("with another option: %v, %s", err, r.Stats().Balance)
	}
	must(t, r.Add(newTarget(t, a.name()+"?weight=3")))
	exchange(t, c, "still there")
	c.Close()
	eventually(t, "its connection has ended", func() bool { return len(r.log.get()) == 1 })
	if s := r.targetStats(a.name()); s.State != target.StateUp || s.Removing || s.Weight != 3 ||
		s.Total != 1 || len(r.Targets()) != 2 {
		t.Errorf("%+v", s)
	}
}

func TestClientGetsAnotherTargetIfItsIsRemovedWhileDialling(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	release := make(chan struct{})
	slow := serve(t, func(c net.Conn) {
		<-release
		echo(tls.Server(c, certs.ServerTLS()))
	})
	other := serve(t, echo)
	o := Options{Tuning: Tuning{DialBudget: time.Minute}}
	o.DialOptions.TLS = func() *tls.Config { return certs.ClientTLS() }
	name := "tls://" + slow.Addr().String()
	r := start(t, o, name, other.name()+"?backup=true")
	c := r.dial()
	eventually(t, "a dial", func() bool { return slow.accepted.Load() == 1 })
	must(t, r.Remove(name, 0))
	eventually(t, "the time is up", func() bool {
		return r.backends.Streams.All()[0].Expelled()
	})
	close(release)
	exchange(t, c, "hello")
	eventually(t, "it is removed", func() bool { return slices.Equal(r.names(), []string{other.name()}) })
	if s := r.Stats(); s.Expelled != 0 {
		t.Errorf("%d expelled", s.Expelled)
	}
}

func TestTargetChangesApplyToUDPSessions(t *testing.T) {
	a, _ := packetEcho(t)
	b, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{}, a)
	there := r.client()
	wantEcho(t, there, "one")
	must(t, r.Add(newTarget(t, b)))
	must(t, r.Drain(a))
	wantEcho(t, there, "two")
	other := r.client()
	wantEcho(t, other, "three")
	want := []Connection{
		{Client: there.LocalAddr().String(), Target: a, BytesIn: 6, BytesOut: 6},
		{Client: other.LocalAddr().String(), Target: b, BytesIn: 5, BytesOut: 5},
	}
	eventually(t, "all bytes are counted", func() bool {
		p, q := r.targetStats(a), r.targetStats(b)
		return p.BytesIn == 6 && p.BytesOut == 6 && q.BytesIn == 5 && q.BytesOut == 5
	})
	got := r.Connections(10)
	for i := range want {
		want[i].ID, want[i].Since, want[i].Listener = uint64(i)+1, got[i].Since, "udp://"+r.at
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if n := len(r.Connections(1)); n != 1 {
		t.Errorf("%d listed", n)
	}
	must(t, r.Remove(a, 0))
	eventually(t, "it is removed", func() bool { return slices.Equal(r.names(), []string{b}) })
	if rec := r.log.one(t); rec.End != "target-removed" || rec.Target != a || r.Stats().Expelled != 1 {
		t.Errorf("%+v", rec)
	}
	if s := r.Stats().Removed; s != (RemovedStats{Targets: 1, Total: 1, BytesIn: 6, BytesOut: 6}) {
		t.Errorf("%+v", s)
	}
	wantEcho(t, there, "four")
	if s := r.targetStats(b); s.Total != 2 || s.Active != 2 {
		t.Errorf("%+v", s)
	}
}

// TestChangesUnderLoad adds, removes, drains and changes targets while clients come and go. Every
// client has all its bytes echoed, no count ever decreases, and the sums at the end are those
// without changes.
func TestChangesUnderLoad(t *testing.T) {
	steady, a, b := serve(t, echoAtEnd), serve(t, echoAtEnd), serve(t, echoAtEnd)
	r := start(t, Options{}, steady.name(), a.name())
	const clients, rounds = 8, 40
	stop := make(chan struct{})
	var changing, load sync.WaitGroup
	repeat := func(f func(i int)) {
		changing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
				}
			}
		})
	}
	changeTargets(t, r, a.name(), b.name(), repeat)
	var last uint64
	repeat(func(int) {
		now := total(r.Stats()).Total
		if now < last {
			t.Errorf("%d connections, and then %d", last, now)
		}
		last = now
	})
	for range clients {
		load.Go(func() {
			for i := range rounds {
				roundTrip(t, r.dial(), 100*i)
			}
		})
	}
	load.Wait()
	close(stop)
	changing.Wait()
	eventually(t, "all have ended", func() bool { return r.Stats().Active == 0 })
	s := r.Stats()
	sum := total(s)
	const bytes = clients * 100 * rounds * (rounds - 1) / 2
	if sum.Total != clients*rounds || sum.BytesIn != bytes || sum.BytesOut != bytes || s.Expelled != 0 {
		t.Errorf("%+v, %d expelled, want %d connections with %d bytes", sum, s.Expelled, clients*rounds, bytes)
	}
}

// changeTargets changes the targets a and b, and all settings, by functions that repeat calls over
// and over.
func changeTargets(t *testing.T, r *rig, a, b string, repeat func(func(i int))) {
	allowed := func(err error) {
		if err != nil && !errors.Is(err, target.ErrUnknown) && !errors.Is(err, target.ErrExists) {
			t.Error(err)
		}
	}
	repeat(func(int) { allowed(r.Add(newTarget(t, b))); allowed(r.Remove(b, time.Hour)) })
	repeat(func(int) { allowed(r.Drain(a)); allowed(r.Resume(a)) })
	repeat(func(int) {
		allowed(r.Remove(a, time.Hour))
		allowed(r.Resume(a))
		allowed(r.Add(newTarget(t, a)))
	})
	balancers := []string{RoundRobin, LeastConnections, Random, SourceHash, LeastBandwidth}
	repeat(func(i int) {
		allowed(r.SetWeight(a, 1+i%5))
		allowed(r.SetBalance(balancers[i%len(balancers)]))
	})
	repeat(func(i int) {
		r.Tune(Tuning{IdleTimeout: time.Hour, MaxConnections: 1000 + i, RatePerClient: 1e6 + float64(i%3)})
	})
	repeat(func(int) { r.Connections(5) })
}

// total returns the sums over all targets, the removed ones included.
func total(s Stats) RemovedStats {
	sum := s.Removed
	for _, p := range s.Targets {
		sum.Total += p.Total
		sum.BytesIn += p.BytesIn
		sum.BytesOut += p.BytesOut
	}
	return sum
}
