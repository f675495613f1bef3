package service

import (
	"strings"
	"testing"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/target"
)

func TestSendersLeaveDescriptorsToTargets(t *testing.T) {
	m := wired(t, "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-connections", "5").mode
	limit := func() uint64 {
		var s admin.Status
		m.describe(&s)
		return s.Limits.MaxConnections
	}
	before := limit()
	if before == 0 {
		t.Skip("the number of descriptors is not limited here")
	}
	a, err := target.ParseAddress("127.0.0.1:2", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.addTarget(a); err != nil || limit() != before-10 {
		t.Errorf("%d senders with one target, %d with two; error %v", before, limit(), err)
	}
	if err := m.removeTarget(a.String()); err != nil || limit() != before {
		t.Errorf("%d senders with one target, %d with one again; error %v", before, limit(), err)
	}
}

// Every part of the sum has to fit: clients got descriptors that 128 clients of the admin listener
// needed, and a greater -max-connections was accepted and then ran into EMFILE.
func TestDescriptorsAddUp(t *testing.T) {
	line := []string{"-target", "127.0.0.1:1,127.0.0.1:2", "-connections", "5", "-loops", "0"}
	for _, test := range []struct {
		name     string
		args     []string
		reserved int // of 1600
		each     int
	}{
		{"line mode", line, 64 + 1 + 20, 1},
		{"with an admin listener", append(line, "-admin", "127.0.0.1:0"), 64 + 1 + 20 + 130, 1},
		{"with checks", append(line, "-health", "tcp"), 64 + 1 + 20 + 2, 1},
		{"with PROXY headers", append(line, "-proxy-protocol-from", "10.0.0.0/8"), 64 + 1 + 20 + 1024, 1},
		{"connection mode", []string{"-mode", "connection", "-target", "127.0.0.1:1", "-loops", "3"}, 64 + 1 + 1 + 6 + 2 + 100, 2},
	} {
		cfg := mustParse(t, append(test.args, "-listen", "tcp://127.0.0.1:0")...)
		b := budgetFor(cfg, cfg.Targets)
		if b.limit > 0 && cfg.Mode == config.ConnectionMode {
			b.reserved += 100 - b.limit/16
		}
		b.limit = 1600
		if b.reserved != test.reserved || b.each != test.each {
			t.Errorf("%s: %d are reserved, %d for each client; want %d, %d", test.name, b.reserved, b.each, test.reserved, test.each)
		}
		fit := (1600 - test.reserved) / test.each
		if b.clients(0) != fit || b.clients(fit-1) != fit-1 || b.clients(fit+1) != fit {
			t.Errorf("%s: at most %d clients, want %d", test.name, b.clients(0), fit)
		}
		if err := b.check(fit); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if err := b.check(fit + 1); err == nil || !strings.Contains(err.Error(), "LimitNOFILE") {
			t.Errorf("%s: one client too many: %v", test.name, err)
		}
		b.limit = test.reserved
		if err := b.check(0); err == nil || !strings.Contains(err.Error(), "none for clients") {
			t.Errorf("%s: no client fits: %v", test.name, err)
		}
	}
	if err := (budget{}).check(1 << 24); err != nil {
		t.Errorf("with an unknown limit: %v", err)
	}
}

// Services that share a listener count those of its clients once whose ClientHello has not come.
func TestDescriptorsOfSharedListeners(t *testing.T) {
	through := func(listeners, name string) need {
		cfg := mustParse(t, "-mode", "connection", "-tls-passthrough", "-listen", listeners, "-sni", name)
		return needOf(cfg, cfg.Targets)
	}
	a, b := through("tls://127.0.0.1:1,tcp://127.0.0.1:2", "a.example"), through("tls://127.0.0.1:1,tls://127.0.0.1:3", "b.example")
	if n := pendingHellos(a, b); n != 2*1024+3*128 {
		t.Errorf("%d descriptors for clients that wait, want those of 2 listeners, and of 3 queues", n)
	}
	if n := pendingHellos(needOf(mustParse(t), nil)); n != 0 {
		t.Errorf("%d descriptors for clients that wait where none do", n)
	}
}

// What does not fit is refused at start, and changes nothing at a reload.
func TestTooManyConnectionsAreRefused(t *testing.T) {
	if descriptorLimit() == 0 {
		t.Skip("the number of descriptors is not limited here")
	}
	args := []string{"-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1"}
	many := append(args, "-max-connections", "16777216")
	if descriptorLimit() > 1<<24 {
		t.Skip("any number of descriptors is allowed here")
	}
	if err := unwired(t, mustParseAll(t, many...)).all()[0].wire(); err == nil || !strings.Contains(err.Error(), "-max-connections") {
		t.Errorf("at start: %v", err)
	}
	s, m, next := withFakeMode(t, args...)
	*next = many
	if _, _, err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "-max-connections") {
		t.Errorf("at a reload: %v", err)
	}
	if len(m.adopted) > 0 {
		t.Error("it was adopted")
	}
}

// Clients of one service cannot use up the descriptors that another needs: what a service may have
// by its -max-connections is its own, and the others share the rest.
func TestServicesShareDescriptors(t *testing.T) {
	d := &descriptors{limit: 1600}
	line := mustParse(t, "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-connections", "5", "-loops", "0")
	limited := line
	limited.MaxConnections = 300
	web := mustParse(t, "-mode", "connection", "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-loops", "0")
	a, b, c := new(service), new(service), new(service)
	if n := d.budget(a, line, line.Targets).clients(0); n != 1600-64-11 {
		t.Errorf("%d clients of the only service", n)
	}
	d.budget(b, limited, line.Targets)
	d.budget(c, web, web.Targets)
	free := 1600 - 64 - 100 - 11 - 11 - 300 - 2
	if n := d.budget(a, line, line.Targets).clients(0); n != free/2 {
		t.Errorf("%d clients of a service without a limit, want %d", n, free/2)
	}
	if n := d.budget(b, limited, line.Targets).clients(300); n != 300 {
		t.Errorf("%d clients of a service with a limit", n)
	}
	if n := d.budget(c, web, web.Targets).clients(0); n != free/2/2 {
		t.Errorf("%d clients in connection mode, want %d", n, free/2/2)
	}
	limited.MaxConnections = 1500
	if err := d.budget(b, limited, line.Targets).check(1500); err == nil || !strings.Contains(err.Error(), "-max-connections 1500") {
		t.Errorf("too many: %v", err)
	}
	d.forget(b)
	d.forget(c)
	if n := d.budget(a, line, line.Targets).clients(0); n != 1600-64-11 {
		t.Errorf("%d clients of the service that is left", n)
	}
}
