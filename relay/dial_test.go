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

func TestClientsOfADeadTargetGetAnother(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{}, refusing(t), s.name())
	for range 20 {
		c := r.dial()
		exchange(t, c, "hello")
		c.Close()
	}
	if n := r.Stats().Targets[0].DialErrors; n == 0 {
		t.Error("the dead target was never tried")
	}
}

func TestBackupsServeOnlyIfNoOtherIsUp(t *testing.T) {
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

// TestAllTargetsDown also serves a client that connects before a target comes back.
func TestAllTargetsDown(t *testing.T) {
	t.Parallel()
	const budget = 3 * time.Second // a slow machine listens again within it
	path := socketPath(t)          // no other process can take it meanwhile, unlike a port
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
	eventually(t, "another dial", func() bool { return r.Stats().Targets[0].DialErrors > uint64(rec.Dials) })
	serveAt(t, listenAt(t, "unix", path), echo)
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "early" {
		t.Errorf("got %q, %v", b, err)
	}
	c.Close() // the server waits for it
}

func TestUnhealthyTargetIsNotDialled(t *testing.T) {
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

// A reachable target for datagrams does not reset the log line about streams.
func TestUnreachableIsLoggedOncePerKind(t *testing.T) {
	var log bytes.Buffer
	o := Options{Tuning: Tuning{DialBudget: 100 * time.Millisecond}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	r := start(t, o, refusing(t), "udp://127.0.0.1:9")
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
