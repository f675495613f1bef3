package main

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/listen"
	"linesplit/target"
)

// adopter is a mode that notes what it is to become.
type adopter struct {
	operated
	first   config
	adopted []config
	err     error
}

// inForce is what was adopted last, or was there from the start: nobody but a reload changes anything.
func (a *adopter) inForce() ([]target.Address, string) {
	cfg := a.first
	if n := len(a.adopted); n > 0 {
		cfg = a.adopted[n-1]
	}
	return cfg.Targets, cfg.Forward.Balance
}

func (a *adopter) adopt(_, next config) error {
	if a.err == nil {
		a.adopted = append(a.adopted, next)
	}
	return a.err
}

// reloader is a controller with a configuration, and what it reads at the next reload.
func reloader(t *testing.T, args ...string) (c *controller, mode *adopter, next *[]string) {
	t.Helper()
	cfg := mustParse(t, args...)
	next = new([]string)
	cfg.again = func() (config, error) { return parseFlags(*next) }
	mode = &adopter{first: cfg}
	in := &inbound{guard: &listen.Guard{Allow: cfg.Access.Allow, Deny: cfg.Access.Deny, ProxyFrom: cfg.Access.ProxyFrom}}
	return newController(cfg, mode, in, nil, silence()), mode, next
}

func TestReload(t *testing.T) {
	for _, tt := range []struct {
		name        string
		old, next   string
		changed     string
		needRestart string
		fault       string
	}{
		{name: "nothing"},
		{name: "another mode", next: "-mode connection -balance random -target 10.0.0.1:1", needRestart: "mode"},
		{name: "back from connection mode", old: "-mode connection", next: "-queue 5", needRestart: "mode"},
		{name: "targets and times", next: "-target 10.0.0.1:1,10.0.0.2:1 -stall-timeout 1m", changed: "target stall-timeout"},
		{name: "sizes", next: "-queue 5 -memory 64MiB -connections 2", needRestart: "connections queue memory"},
		{name: "a longer line", next: "-max-line 2MiB", changed: "max-line"},
		{name: "lines too long for the memory there is", old: "-memory 8MiB", next: "-memory 64MiB -max-line 16MiB", fault: "stays at 8.0 MiB until a restart"},
		{name: "proxies where there were none", next: "-proxy-protocol-from 10.0.0.0/8 -deny 10.9.0.0/16", changed: "deny", needRestart: "proxy-protocol-from"},
		{name: "other proxies", old: "-proxy-protocol-from 10.0.0.0/8", next: "-proxy-protocol-from 10.1.0.0/16", changed: "proxy-protocol-from"},
		{name: "checks where there were none", next: "-health tcp -health-fall 5", needRestart: "health health-fall"},
		{name: "other checks", old: "-health tcp", next: "-health tcp -health-fall 5", changed: "health-fall"},
		{name: "checks of connections", old: "-mode connection", next: "-mode connection -health tcp", changed: "health"},
		{name: "a weight", old: "-mode connection -target 10.0.0.1:1", next: "-mode connection -target 10.0.0.1:1?weight=3", changed: "target"},
		{name: "a backup", old: "-mode connection -target 10.0.0.1:1,10.0.0.2:1", next: "-mode connection -target 10.0.0.1:1,10.0.0.2:1?backup=true",
			changed: "target", needRestart: "target tcp://10.0.0.2:1 (backup, max-connections, proxy-protocol)"},
		{name: "broken", next: "-stall-timeout soon", fault: "stall-timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, mode, next := reloader(t, strings.Fields(tt.old)...)
			*next = strings.Fields(tt.next)
			before := c.Config()
			changed, needRestart, err := c.Reload(t.Context())
			if got := strings.Join(changed, " "); got != tt.changed {
				t.Errorf("changed %q, want %q", got, tt.changed)
			}
			if got := strings.Join(needRestart, " "); got != tt.needRestart {
				t.Errorf("a restart is needed for %q, want %q", got, tt.needRestart)
			}
			if tt.fault != "" && (!errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), tt.fault)) || tt.fault == "" && err != nil {
				t.Errorf("error %v, want %q", err, tt.fault)
			}
			if adopted := len(mode.adopted) > 0; adopted != (tt.changed != "") {
				t.Errorf("adopted: %v", mode.adopted)
			}
			if tt.changed == "" && !slices.Equal(before, c.Config()) {
				t.Errorf("what is shown has changed from\n%v to\n%v", before, c.Config())
			}
			again, stillNeeded, err := c.Reload(t.Context()) // what has been done is not done again, and what has not is not forgotten
			if len(again) > 0 || strings.Join(stillNeeded, " ") != tt.needRestart {
				t.Errorf("a second reload changes %v, and needs a restart for %v, %v", again, stillNeeded, err)
			}
		})
	}
}

func TestReloadThatTheModeRefuses(t *testing.T) {
	c, mode, next := reloader(t)
	*next = []string{"-deny", "10.0.0.0/8"}
	mode.err = errors.New("no")
	before := c.Config()
	if _, _, err := c.Reload(t.Context()); err == nil || !slices.Equal(before, c.Config()) {
		t.Errorf("error %v, shown %v", err, c.Config())
	}
}

// What the targets refuse changes nothing else either.
func TestReloadThatTheTargetsRefuse(t *testing.T) {
	for _, m := range []string{"line", "connection"} {
		t.Run(m, func(t *testing.T) {
			fixed := []string{"-mode", m, "-listen", "tcp://127.0.0.1:0"}
			cfg := mustParse(t, append(fixed, "-target", "127.0.0.1:1", "-target", "127.0.0.1:2", "-max-connections", "7")...)
			cfg.again = func() (config, error) {
				return parseFlags(append(fixed, "-target", "127.0.0.1:1", "-target", "127.0.0.1:3", "-max-connections", "8"))
			}
			mode := modeOf(t, cfg)
			c := newController(cfg, mode, &inbound{guard: &listen.Guard{}}, nil, silence())
			state := func() (s admin.Status) { mode.describe(&s); return s }
			if err := c.Drain(t.Context(), "tcp://127.0.0.1:1"); err != nil {
				t.Fatal(err)
			}
			if err := c.Add(t.Context(), "127.0.0.1:3"); err != nil {
				t.Fatal(err)
			}
			if err := c.Drain(t.Context(), "tcp://127.0.0.1:3"); err != nil {
				t.Fatal(err)
			}
			changed, _, err := c.Reload(t.Context())
			if s := state(); !errors.Is(err, admin.ErrLast) || len(changed) > 0 || s.Limits.MaxConnections != 7 || len(s.Targets) != 3 {
				t.Fatalf("changed %v, error %v, %d connections, targets %+v", changed, err, s.Limits.MaxConnections, s.Targets)
			}
			if err := c.Resume(t.Context(), "tcp://127.0.0.1:1"); err != nil {
				t.Fatal(err)
			}
			changed, _, err = c.Reload(t.Context())
			if s := state(); err != nil || len(changed) != 2 || s.Limits.MaxConnections != 8 {
				t.Fatalf("changed %v, error %v, %d connections, targets %+v", changed, err, s.Limits.MaxConnections, s.Targets)
			}
		})
	}
}

func TestSendersLeaveDescriptorsToTargets(t *testing.T) {
	p := modeOf(t, mustParse(t, "-listen", "tcp://127.0.0.1:0", "-target", "127.0.0.1:1", "-connections", "5"))
	most := func() uint64 {
		var s admin.Status
		p.describe(&s)
		return s.Limits.MaxConnections
	}
	before := most()
	if before == 0 {
		t.Skip("the number of descriptors is not limited here")
	}
	a, err := target.ParseAddress("127.0.0.1:2", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.addTarget(a); err != nil || most() != before-10 {
		t.Errorf("%d senders with one target, %d with two; error %v", before, most(), err)
	}
	if err := p.removeTarget(a.String()); err != nil || most() != before {
		t.Errorf("%d senders with one target, %d with one again; error %v", before, most(), err)
	}
}

func modeOf(t *testing.T, cfg config) operated {
	t.Helper()
	if cfg.Mode == connectionMode {
		f, err := newForwarder(cfg, silence())
		if err != nil {
			t.Fatal(err)
		}
		f.in = &inbound{guard: &listen.Guard{}}
		return f
	}
	p, err := newPipeline(cfg, silence())
	if err != nil {
		t.Fatal(err)
	}
	p.in = &inbound{guard: &listen.Guard{}}
	return p
}

// A target that has been added by hand before it is in the file gets the weight that the file says, and keeps its other options.
func TestReloadOfWhatIsThere(t *testing.T) {
	cfg := mustParse(t, "-mode", "connection", "-target", "10.0.0.1:1")
	cfg.again = func() (config, error) {
		return parseFlags([]string{"-mode", "connection", "-target", "10.0.0.1:1,10.0.0.2:1?weight=5,10.0.0.3:1?weight=5&backup=true"})
	}
	mode := modeOf(t, cfg)
	c := newController(cfg, mode, &inbound{guard: &listen.Guard{}}, nil, silence())
	for _, byHand := range []string{"10.0.0.2:1", "10.0.0.3:1"} {
		if err := c.Add(t.Context(), byHand); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		_, needRestart, err := c.Reload(t.Context())
		if err != nil || len(needRestart) != 1 || !strings.HasPrefix(needRestart[0], "target tcp://10.0.0.3:1 (") {
			t.Errorf("needs a restart for %v, %v", needRestart, err)
		}
		var s admin.Status
		mode.describe(&s)
		for _, x := range s.Targets[1:] {
			if x.Forward.Weight != 5 || x.Forward.Backup {
				t.Errorf("%s: %+v", x.Name, x.Forward)
			}
		}
	}
}

// Options of a target that need a restart are neither shown before there was one, nor asked for once a target has them.
func TestReloadOfOptions(t *testing.T) {
	const plain, backup = "tcp://10.0.0.1:1,tcp://10.0.0.2:1", "tcp://10.0.0.1:1,tcp://10.0.0.2:1?backup=true"
	cfg := mustParse(t, "-mode", "connection", "-target", plain)
	cfg.again = func() (config, error) { return parseFlags([]string{"-mode", "connection", "-target", backup}) }
	c := newController(cfg, modeOf(t, cfg), &inbound{guard: &listen.Guard{}}, nil, silence())
	reload := func(restarts int, shown string) {
		t.Helper()
		_, needRestart, err := c.Reload(t.Context())
		if err != nil || len(needRestart) != restarts {
			t.Errorf("needs a restart for %q, %v", needRestart, err)
		}
		all := c.Config()
		i := slices.IndexFunc(all, func(s admin.Setting) bool { return s.Name == "target" })
		if all[i].Value != shown || all[i].Source == admin.SourceAPI {
			t.Errorf("%+v, want %s", all[i], shown)
		}
	}
	reload(1, plain)
	reload(1, plain)
	if err := errors.Join(c.Remove(t.Context(), "tcp://10.0.0.2:1"), c.Add(t.Context(), "10.0.0.2:1?backup=true")); err != nil {
		t.Fatal(err)
	}
	reload(0, backup)
}

func TestChangesBetweenTargets(t *testing.T) {
	parse := func(text string) (all []target.Address) {
		for entry := range strings.FieldsSeq(text) {
			a, err := target.ParseAddress(entry, false)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		return all
	}
	old, next := parse("a:1 b:1 c:1?weight=2"), parse("b:1?weight=3 c:1?weight=2 d:1")
	add, remove := changesBetween(old, next)
	if len(add) != 1 || add[0].String() != "tcp://d:1" || !slices.Equal(remove, []string{"tcp://a:1"}) {
		t.Errorf("add %v, remove %v", add, remove)
	}
	if weights := reweighted(old, next); !maps.Equal(weights, map[string]int{"tcp://b:1": 3, "tcp://d:1": 1}) {
		t.Errorf("weights %v", weights)
	}
}

// A configuration that cannot be read, since a file of it has become a pipe for one, holds up nothing but reloads.
func TestReloadThatNobodyAnswers(t *testing.T) {
	c, mode, next := reloader(t, "-target", "10.0.0.1:1")
	*next = []string{"-target", "10.0.0.2:1"}
	hangs, read := make(chan struct{}), c.again
	c.again = func() (config, error) { <-hangs; return read() }
	for range 2 { // the second waits for the first
		if _, _, err := c.reloadWithin(t.Context(), time.Millisecond); !errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), "a pipe") {
			t.Errorf("Reload = %v, want to know what may be wrong", err)
		}
	}
	if !c.mu.TryLock() {
		t.Fatal("nothing else can be changed")
	}
	c.mu.Unlock()
	close(hangs)
	if changed, _, err := c.Reload(t.Context()); err != nil || len(changed) != 1 || len(mode.adopted) != 1 {
		t.Errorf("Reload = %v, %v, adopted %d times; want the one of now", changed, err, len(mode.adopted))
	}
}
