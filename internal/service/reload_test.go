package service

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/listen"
	"linesplit/target"
)

// fakeMode records the configurations that it adopts.
type fakeMode struct {
	mode
	first   config.Config
	adopted []config.Config
	err     error // of adopt
}

func (m *fakeMode) targets() []*target.Target { return nil }

// inForce returns what was adopted last or was there from the start: only reloads change anything.
func (m *fakeMode) inForce() ([]target.Address, string) {
	cfg := m.first
	if n := len(m.adopted); n > 0 {
		cfg = m.adopted[n-1]
	}
	return cfg.Targets, cfg.Balance
}

func (m *fakeMode) adopt(_, next config.Config, _ target.Options) error {
	if m.err == nil {
		m.adopted = append(m.adopted, next)
	}
	return m.err
}

// withFakeMode returns a service with a configuration, and the arguments that it reads at the next
// reload.
func withFakeMode(t *testing.T, args ...string) (p control, m *fakeMode, next *[]string) {
	t.Helper()
	cfg := mustParseAll(t, args...)
	next = new([]string)
	m = &fakeMode{first: cfg.Config}
	p.process = unwired(t, cfg)
	p.service = p.process.all()[0]
	s := p.service
	s.mode, s.checks = m, new(checks)
	s.in = &inbound{guard: &listen.Guard{Allow: cfg.Access.Allow, Deny: cfg.Access.Deny, ProxyFrom: cfg.Access.ProxyFrom}}
	p.process.reread = func() (config.Process, error) { return config.ParseFlags(*next) }
	return p, m, next
}

// reloadsFrom makes s read the given arguments at each reload.
func reloadsFrom(c control, args ...string) {
	c.process.reread = func() (config.Process, error) { return config.ParseFlags(args) }
}

// wiredControl returns a process with a wired service.
func wiredControl(t *testing.T, args ...string) control {
	t.Helper()
	p := wiredProcess(t, args...)
	return control{p.all()[0], p}
}

// reloads are arguments at the start and at the next reload, and what has to come of that.
var reloads = []struct { // read-only
	name        string
	old, next   string
	changed     string
	replace     string // settings for which another service takes the place of this one
	needRestart string
	fault       string
}{
	{name: "nothing"},
	// Only the mode was named: a target that had changed, too, was neither applied nor named.
	{name: "another mode", next: "-mode connection -balance random -target 10.0.0.1:1", needRestart: "mode target balance"},
	{name: "back from connection mode", old: "-mode connection -balance random -drain-timeout 5s",
		next: "-queue 5 -drain-timeout 5s -log-level warn", needRestart: "mode queue log-level"},
	{name: "targets and times", next: "-target 10.0.0.1:1,10.0.0.2:1 -stall-timeout 1m", changed: "target stall-timeout"},
	{name: "sizes", next: "-queue 5 -memory 64MiB -connections 2", replace: "connections queue", needRestart: "memory"},
	{name: "a longer line", next: "-max-line 2MiB", changed: "max-line"},
	{name: "lines too long for the memory there is", old: "-memory 8MiB", next: "-memory 64MiB -max-line 16MiB",
		fault: "stays at 8.0 MiB until a restart"},
	{name: "proxies where there were none", next: "-proxy-protocol-from 10.0.0.0/8 -deny 10.9.0.0/16",
		changed: "deny", replace: "proxy-protocol-from"},
	{name: "other proxies", old: "-proxy-protocol-from 10.0.0.0/8", next: "-proxy-protocol-from 10.1.0.0/16",
		changed: "proxy-protocol-from"},
	{name: "checks where there were none", next: "-health tcp -health-fall 5", replace: "health health-fall"},
	{name: "other checks", old: "-health tcp", next: "-health tcp -health-fall 5", changed: "health-fall"},
	{name: "checks of connections", old: "-mode connection", next: "-mode connection -health tcp", changed: "health"},
	{name: "a weight", old: "-mode connection -target 10.0.0.1:1", next: "-mode connection -target 10.0.0.1:1?weight=3",
		changed: "target"},
	{name: "a backup", old: "-mode connection -target 10.0.0.1:1,10.0.0.2:1",
		next:    "-mode connection -target 10.0.0.1:1,10.0.0.2:1?backup=true",
		changed: "target", replace: "target tcp://10.0.0.2:1 (group, backup, health-interval, rise, fall, max-connections, proxy-protocol, server-name, max-age, options of batches)"},
	{name: "no target any more", old: "-target 10.0.0.1:1", next: "-deny 10.1.0.0/16", fault: "LINESPLIT_TARGET any more"},
	{name: "broken", next: "-stall-timeout soon", fault: "stall-timeout"},
}

func TestReload(t *testing.T) {
	for _, tt := range reloads {
		t.Run(tt.name, func(t *testing.T) {
			s, mode, next := withFakeMode(t, strings.Fields(tt.old)...)
			*next = strings.Fields(tt.next)
			if tt.replace != "" {
				c, err := s.plan(mustParseAll(t, *next...).Config)
				if err != nil || strings.Join(c.changed, " ") != tt.changed || strings.Join(c.replace, " ") != tt.replace ||
					strings.Join(c.needRestart, " ") != tt.needRestart {
					t.Errorf("changed %q, replaced for %q, a restart is needed for %q, %v", c.changed, c.replace, c.needRestart, err)
				}
				return
			}
			before := s.Config()
			changed, needRestart, err := s.Reload(t.Context())
			if got := strings.Join(changed, " "); got != tt.changed {
				t.Errorf("changed %q, want %q", got, tt.changed)
			}
			if got := strings.Join(needRestart, " "); got != tt.needRestart {
				t.Errorf("a restart is needed for %q, want %q", got, tt.needRestart)
			}
			if tt.fault != "" && (!errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), tt.fault)) ||
				tt.fault == "" && err != nil {
				t.Errorf("error %v, want %q", err, tt.fault)
			}
			if adopted := len(mode.adopted) > 0; adopted != (tt.changed != "") {
				t.Errorf("adopted: %v", mode.adopted)
			}
			if tt.changed == "" && !slices.Equal(before, s.Config()) {
				t.Errorf("the settings shown have changed from\n%v to\n%v", before, s.Config())
			}
			// A second reload changes nothing again, and still names what needs a restart.
			again, stillNeeded, err := s.Reload(t.Context())
			if len(again) > 0 || strings.Join(stillNeeded, " ") != tt.needRestart {
				t.Errorf("a second reload changes %v, and needs a restart for %v, %v", again, stillNeeded, err)
			}
		})
	}
}

// An empty file changed the mode, too, in which case nothing else was looked at.
func TestReloadOfNothingInAnotherMode(t *testing.T) {
	s, mode, _ := withFakeMode(t, "-mode", "connection", "-target", "10.0.0.1:1")
	_, _, err := s.Reload(t.Context())
	if !errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), "no target") || len(mode.adopted) > 0 {
		t.Errorf("error %v, adopted %v", err, mode.adopted)
	}
}

func TestReloadThatTheModeRefusesChangesNothing(t *testing.T) {
	s, mode, next := withFakeMode(t)
	*next = []string{"-deny", "10.0.0.0/8"}
	mode.err = errors.New("no")
	before := s.Config()
	if _, _, err := s.Reload(t.Context()); err == nil || !slices.Equal(before, s.Config()) {
		t.Errorf("error %v, shown %v", err, s.Config())
	}
}

// A change of targets that is refused leaves the other settings unchanged, too.
func TestReloadThatTheTargetsRefuseChangesNothing(t *testing.T) {
	for _, m := range []string{"line", "connection"} {
		t.Run(m, func(t *testing.T) {
			fixed := []string{"-mode", m, "-listen", "tcp://127.0.0.1:0"}
			s := wiredControl(t, append(fixed, "-target", "127.0.0.1:1", "-target", "127.0.0.1:2", "-max-connections", "7")...)
			reloadsFrom(s, append(fixed, "-target", "127.0.0.1:1", "-target", "127.0.0.1:3", "-max-connections", "8")...)
			state := func() (st admin.Status) { s.mode.describe(&st); return st }
			if err := s.Drain(t.Context(), "tcp://127.0.0.1:1"); err != nil {
				t.Fatal(err)
			}
			if err := s.Add(t.Context(), "127.0.0.1:3"); err != nil {
				t.Fatal(err)
			}
			if err := s.Drain(t.Context(), "tcp://127.0.0.1:3"); err != nil {
				t.Fatal(err)
			}
			changed, _, err := s.Reload(t.Context())
			if st := state(); !errors.Is(err, admin.ErrLast) || len(changed) > 0 ||
				st.Limits.MaxConnections != 7 || len(st.Targets) != 3 {
				t.Fatalf("changed %v, error %v, %d connections, targets %+v", changed, err, st.Limits.MaxConnections, st.Targets)
			}
			if err := s.Resume(t.Context(), "tcp://127.0.0.1:1"); err != nil {
				t.Fatal(err)
			}
			changed, _, err = s.Reload(t.Context())
			if st := state(); err != nil || len(changed) != 2 || st.Limits.MaxConnections != 8 {
				t.Fatalf("changed %v, error %v, %d connections, targets %+v", changed, err, st.Limits.MaxConnections, st.Targets)
			}
		})
	}
}

// A target that was added by hand before it is in the file gets its weight from the file. If it has
// other options there, another service takes the place of this one.
func TestReloadOfATargetAddedByHand(t *testing.T) {
	s := wiredControl(t, "-mode", "connection", "-target", "10.0.0.1:1")
	for _, byHand := range []string{"10.0.0.2:1", "10.0.0.3:1"} {
		if err := s.Add(t.Context(), byHand); err != nil {
			t.Fatal(err)
		}
	}
	reloadsFrom(s, "-mode", "connection", "-target", "10.0.0.1:1,10.0.0.2:1?weight=5,10.0.0.3:1?weight=5")
	for range 2 {
		if _, needRestart, err := s.Reload(t.Context()); err != nil || len(needRestart) > 0 {
			t.Errorf("needs a restart for %v, %v", needRestart, err)
		}
		var st admin.Status
		s.mode.describe(&st)
		for _, x := range st.Targets[1:] {
			if x.Forward.Weight != 5 {
				t.Errorf("%s: %+v", x.Name, x.Forward)
			}
		}
	}
	backup := mustParseAll(t, "-mode", "connection", "-target", "10.0.0.1:1,10.0.0.2:1?weight=5,10.0.0.3:1?weight=5&backup=true")
	c, err := s.plan(backup.Config)
	if err != nil || len(c.replace) != 1 || !strings.HasPrefix(c.replace[0], "target tcp://10.0.0.3:1 (") {
		t.Errorf("replaced for %v, %v", c.replace, err)
	}
}

// Options of a target that only another service can have are not shown by this one, and not named
// any more once the target has them.
func TestReloadOfTargetOptions(t *testing.T) {
	const plain, backup = "tcp://10.0.0.1:1,tcp://10.0.0.2:1", "tcp://10.0.0.1:1,tcp://10.0.0.2:1?backup=true"
	s := wiredControl(t, "-mode", "connection", "-target", plain)
	next := mustParseAll(t, "-mode", "connection", "-target", backup).Config
	if c, err := s.plan(next); err != nil || len(c.replace) != 1 {
		t.Errorf("replaced for %q, %v", c.replace, err)
	}
	err := errors.Join(s.Remove(t.Context(), "tcp://10.0.0.2:1"), s.Add(t.Context(), "10.0.0.2:1?backup=true"))
	if err != nil {
		t.Fatal(err)
	}
	reloadsFrom(s, "-mode", "connection", "-target", backup)
	if _, needRestart, err := s.Reload(t.Context()); err != nil || len(needRestart) > 0 {
		t.Errorf("needs a restart for %q, %v", needRestart, err)
	}
	all := s.Config()
	i := slices.IndexFunc(all, func(s admin.Setting) bool { return s.Name == "target" })
	if all[i].Value != backup || all[i].Source == admin.SourceAPI {
		t.Errorf("%+v, want %s", all[i], backup)
	}
}

// A reload that had met a file that does not answer kept all later ones out, also after the file
// was mended. Nothing else waits for it either.
func TestReloadOfAFileThatDoesNotAnswer(t *testing.T) {
	s, mode, next := withFakeMode(t, "-target", "10.0.0.1:1")
	*next = []string{"-target", "10.0.0.2:1"}
	hangs, read := make(chan struct{}), s.process.reread
	hang := int32(0) // reads that do
	stuck := func() (config.Process, error) { <-hangs; return read() }
	mended := func(round int) {
		s.process.reread = read
		if _, _, err := s.Reload(t.Context()); err != nil || len(mode.adopted) != 1 {
			t.Errorf("round %d: Reload = %v, adopted %d times, want once", round, err, len(mode.adopted))
		}
		if n := s.process.stuckReads.Load(); n != hang { // a reload that had returned was among them for a moment
			t.Fatalf("round %d: %d reads count as stuck, %d are", round, n, hang)
		}
	}
	for round := range maxStuckReads {
		s.process.reread = stuck
		hang++
		_, _, err := s.process.reloadWithin(t.Context(), time.Millisecond)
		if !errors.Is(err, admin.ErrInvalid) || !strings.Contains(err.Error(), "a pipe") {
			t.Errorf("Reload = %v, want an error with the likely cause", err)
		}
		if round < maxStuckReads-1 {
			mended(round)
		}
	}
	if _, _, err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "16 earlier reloads") {
		t.Errorf("with as many reads as may hang: %v", err)
	}
	if !s.mu.TryLock() {
		t.Fatal("nothing else can be changed")
	}
	s.mu.Unlock()
	close(hangs)
	hang = 0
	for s.process.stuckReads.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	mended(maxStuckReads)
}
