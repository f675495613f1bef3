package relay

import (
	"io"
	"reflect"
	"testing"
	"time"

	"linesplit/target"
)

func TestNewAppliesTheTuning(t *testing.T) {
	tuning := Tuning{
		DialOptions: target.Options{Timeout: 1}, DialBudget: 2, LingerTimeout: 3, IdleTimeout: 4, QueueTimeout: 5,
		Drain: 6, MaxConnections: 7,
		MaxConnectionsPerClient: 8, RatePerClient: 9, ResetOnDown: true, UDPIdleTimeout: 10, UDPSessions: 11,
		ClientIdleTimeout: 12, TargetIdleTimeout: 13,
	}
	from, to := reflect.ValueOf(tuning), reflect.ValueOf(*New(Options{Tuning: tuning}).tuned())
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		if got := to.Field(i).Interface(); to.Field(i).IsZero() || !reflect.DeepEqual(got, from.Field(i).Interface()) {
			t.Errorf("%s is %v", name, got)
		}
	}
}

// A shorter timeout applies before the old one has passed.
func TestTuneAppliesAShorterIdleTimeoutToOpenConnections(t *testing.T) {
	r := start(t, Options{}, serve(t, echo).name())
	c := r.connect()
	begin := time.Now()
	r.Tune(Tuning{IdleTimeout: 50 * time.Millisecond})
	wantReset(t, c)
	if took := time.Since(begin); took > maxStep {
		t.Errorf("it took %v", took)
	}
	r.Tune(Tuning{})
	c = r.connect()
	time.Sleep(200 * time.Millisecond)
	exchange(t, c, "still there")
}

func TestTunedLimitsCountOpenConnectionsAndEndNone(t *testing.T) {
	r := start(t, Options{}, serve(t, echo).name())
	there := r.connect()
	second := r.connect()
	for reason, set := range map[string]Tuning{"limit": {MaxConnections: 2}, "client-limit": {MaxConnectionsPerClient: 2}} {
		r.Tune(set)
		if err := r.refusal(); !isReset(err) || r.refused(reason) != 1 {
			t.Errorf("%s: %v", reason, err)
		}
	}
	exchange(t, there, "still there")
	second.Close()
	eventually(t, "one is left", func() bool { return r.Stats().Active == 1 })
	r.connect()
	r.Tune(Tuning{RatePerClient: 0.001})
	r.connect()
	if err := r.refusal(); !isReset(err) || r.refused("rate") != 1 {
		t.Errorf("rate: %v", err)
	}
	r.Tune(Tuning{})
	r.connect()
}

func TestTunedResetOnDownAppliesToTargetsThatAreDown(t *testing.T) {
	r := start(t, Options{}, serve(t, echo).name())
	c := r.connect()
	r.Targets()[0].CheckedDown(io.EOF)
	r.Tune(Tuning{ResetOnDown: true})
	wantReset(t, c)
	if rec := r.log.one(t); rec.End != "target-down" {
		t.Errorf("%+v", rec)
	}
}

func TestTuneAppliesToUDPSessions(t *testing.T) {
	address, _ := packetEcho(t)
	r := startPackets(t, "127.0.0.1:0", Options{Tuning: Tuning{UDPIdleTimeout: time.Hour}}, address)
	first := r.client()
	wantEcho(t, first, "one")
	r.Tune(Tuning{UDPIdleTimeout: time.Hour, UDPSessions: 1})
	if got := ask(t, r.client(), []byte("two"), 100*time.Millisecond); got != nil {
		t.Errorf("got %q: one session more than the limit", got)
	}
	wantEcho(t, first, "three")
	r.Tune(Tuning{UDPIdleTimeout: 50 * time.Millisecond})
	if rec := r.log.one(t); rec.End != "idle" {
		t.Errorf("%+v", rec)
	}
	r.Tune(Tuning{UDPIdleTimeout: time.Hour})
	wantEcho(t, r.client(), "four")
}
