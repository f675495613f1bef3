package relay

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestRedispatch: with one target dead and others well, no client notices.
func TestRedispatch(t *testing.T) {
	dead := serve(t, echo)
	dead.Close()
	s := serve(t, echo)
	r := start(t, Options{}, dead.name(), s.name())
	for range 20 {
		c := r.dial()
		exchange(t, c, "hello")
		c.Close()
	}
	if n := r.Stats().Targets[0].DialErrors; n == 0 {
		t.Error("the dead target was never tried")
	}
}

// TestBackups serve only where no other is up.
func TestBackups(t *testing.T) {
	first, backup := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, first.name(), backup.name()+"?backup=true")
	for range 10 {
		exchange(t, r.dial(), "hello")
	}
	if n := backup.accepted.Load(); n != 0 {
		t.Errorf("the backup got %d", n)
	}
	first.Close()
	exchange(t, r.dial(), "hello")
	if n := backup.accepted.Load(); n != 1 {
		t.Errorf("then the backup got %d", n)
	}
}

// TestAllDown: clients are reset within the budget, and one that comes in time for a target's return is served.
func TestAllDown(t *testing.T) {
	t.Parallel()
	const budget = 3 * time.Second // a slow machine listens again within it
	path := socketPath(t)          // which nobody else takes meanwhile, as they may a port
	r := start(t, Options{Tuning: Tuning{DialBudget: budget}}, "unix://"+path)
	begin := time.Now()
	if err := r.refusal(); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > budget+10*time.Second {
		t.Errorf("took %v", took)
	}
	rec := r.log.one(t)
	if rec.End != "dial-failed" || rec.Dials < 3 || rec.Target != "" || r.refused("no-target") != 1 {
		t.Errorf("%+v", rec)
	}
	c := r.dial()
	c.Write([]byte("early"))
	eventually(t, "a dial more", func() bool { return r.Stats().Targets[0].DialErrors > uint64(rec.Dials) })
	serveAt(t, listenAt(t, "unix", path), echo)
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "early" {
		t.Errorf("got %q, %v", b, err)
	}
	c.Close() // the server waits for it
}

// TestEjected: what a check has found to be down is not tried at all.
func TestEjected(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{}, s.name())
	r.Targets()[0].CheckedDown(io.EOF)
	if err := r.refusal(); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if rec := r.log.one(t); rec.End != "no-target" || rec.Dials != 0 || s.accepted.Load() != 0 {
		t.Errorf("%+v", rec)
	}
	r.Targets()[0].CheckedUp()
	exchange(t, r.dial(), "hello")
}

// TestUnreachableOncePerKind: that datagrams have a target is no news for those who want to connect.
func TestUnreachableOncePerKind(t *testing.T) {
	dead := serve(t, echo)
	dead.Close()
	var log bytes.Buffer
	o := Options{Tuning: Tuning{DialBudget: 100 * time.Millisecond}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	r := start(t, o, dead.name(), "udp://127.0.0.1:9")
	for range 3 {
		r.refusal()
		nc, err := r.backends.Dial(context.Background(), r.backends.Datagrams.All()[0], nil, time.Second)
		must(t, err)
		nc.Close()
	}
	eventually(t, "all refused", func() bool { return len(r.log.get()) == 3 })
	if n := strings.Count(log.String(), "reached"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
