package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"linesplit/admin"
	"linesplit/internal/discovery"
	"linesplit/target"
)

const testSource = "dns://receivers.test:9"

// both calls test with the flags of either mode.
func both(t *testing.T, test func(t *testing.T, flags []string)) {
	for _, mode := range []string{"line", "connection"} {
		t.Run(mode, func(t *testing.T) { test(t, []string{"-mode", mode, "-listen", "127.0.0.1:0"}) })
	}
}

// list makes the source answer with hosts at port 9.
func (s *service) list(source string, hosts ...string) error {
	var a discovery.Answer
	for _, h := range hosts {
		a.Targets = append(a.Targets, target.Address{Scheme: target.SchemeTCP, Host: h + ":9", HostName: "receivers.test"})
	}
	return s.found(source, a, 10*time.Second)
}

// names returns the targets that are not being removed, with their origins.
func (s *service) names() (all []string) {
	st := s.Status()
	for _, t := range s.mode.targets() {
		i := slices.IndexFunc(st.Targets, func(x admin.TargetStatus) bool { return x.Name == t.String() })
		all = append(all, strings.TrimSpace(t.String()+" "+strings.Join(st.Targets[i].From, "+")))
	}
	slices.Sort(all)
	return all
}

func (s *service) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.names()); diff != "" {
		t.Error(diff)
	}
}

// A service starts without a target, is not ready, and takes what its source finds.
func TestDiscoveryFromNothing(t *testing.T) {
	both(t, func(t *testing.T, flags []string) {
		s := wired(t, append(flags, "-target", testSource)...)
		if ready, why := s.ready(); ready || !strings.Contains(why, "no target has been found yet: "+testSource) {
			t.Errorf("ready: %t, %s", ready, why)
		}
		if err := s.list(testSource); err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("an empty answer: %v", err)
		}
		if err := s.list(testSource, "10.0.0.1", "10.0.0.2"); err != nil {
			t.Error(err)
		}
		s.want(t, "tcp://10.0.0.1:9 "+testSource, "tcp://10.0.0.2:9 "+testSource)
		if _, why := s.ready(); strings.Contains(why, "found") {
			t.Error(why)
		}
		for _, setting := range s.Config() {
			if setting.Name == "target" && (setting.Value != testSource || setting.Source != admin.SourceFlag) {
				t.Errorf("the setting is shown as %+v", setting)
			}
		}
		if st := s.Status(); len(st.Sources) != 1 || st.Sources[0].Targets != 2 || st.Sources[0].Name != testSource {
			t.Errorf("%+v", st.Sources)
		}
	})
}

// What hands do outlives the answers.
func TestDiscoveryHeedsHands(t *testing.T) {
	both(t, func(t *testing.T, flags []string) {
		ctx := context.Background()
		s := wired(t, append(flags, "-target", testSource+",10.0.0.9:9")...)
		if err := s.list(testSource, "10.0.0.1", "10.0.0.2"); err != nil {
			t.Error(err)
		}
		if err := errors.Join(s.Add(ctx, "10.0.0.7:9"), s.Remove(ctx, "tcp://10.0.0.1:9"), s.Remove(ctx, "tcp://10.0.0.9:9")); err != nil {
			t.Fatal(err)
		}
		if err := s.list(testSource, "10.0.0.1", "10.0.0.2"); err != nil {
			t.Error(err)
		}
		s.want(t, "tcp://10.0.0.2:9 "+testSource, "tcp://10.0.0.7:9 by hand")
		if err := errors.Join(s.list(testSource, "10.0.0.2"), s.list(testSource, "10.0.0.1", "10.0.0.2")); err != nil {
			t.Error(err)
		}
		s.want(t, "tcp://10.0.0.1:9 "+testSource, "tcp://10.0.0.2:9 "+testSource, "tcp://10.0.0.7:9 by hand")
		if err := s.Add(ctx, "dns://other:9"); err == nil || !strings.Contains(err.Error(), "source of targets") {
			t.Error(err)
		}
	})
}

// linesplit's own listener among the targets is left out, and said to be.
func TestDiscoveryRefusesOwnListener(t *testing.T) {
	both(t, func(t *testing.T, flags []string) {
		s := wired(t, "-mode", flags[1], "-listen", "127.0.0.1:9", "-target", testSource)
		if err := s.list(testSource, "127.0.0.1"); err == nil || !strings.Contains(err.Error(), "go round for ever") {
			t.Error(err)
		}
		if err := s.list(testSource, "127.0.0.1", "10.0.0.1"); err == nil {
			t.Error("no error")
		}
		s.want(t, "tcp://10.0.0.1:9 "+testSource)
	})
}

// A reload from addresses to a source keeps the old targets until the source has answered.
func TestDiscoveryReloaded(t *testing.T) {
	both(t, func(t *testing.T, flags []string) {
		c := wiredControl(t, append(flags, "-target", "10.0.0.1:9,10.0.0.2:9")...)
		s := c.service
		reload := func(targets string) {
			t.Helper()
			reloadsFrom(c, append(flags, "-target", targets)...)
			if changed, need, err := c.Reload(t.Context()); err != nil || !slices.Equal(changed, []string{"target"}) || need != nil {
				t.Fatalf("changed %v, restart for %v, %v", changed, need, err)
			}
		}
		reload("10.0.0.2:9," + testSource)
		s.want(t, "tcp://10.0.0.1:9", "tcp://10.0.0.2:9 configuration")
		if err := s.list(testSource, "10.0.0.3"); err != nil {
			t.Error(err)
		}
		s.want(t, "tcp://10.0.0.2:9 configuration", "tcp://10.0.0.3:9 "+testSource)
		reload(testSource)
		s.want(t, "tcp://10.0.0.3:9 "+testSource)
		reload("10.0.0.4:9")
		s.want(t, "tcp://10.0.0.4:9")
	})
}

// state returns the state of a target, or "" if there is none of that name.
func (s *service) state(name string) string {
	for _, t := range s.Status().Targets {
		if t.Name == name {
			return t.State
		}
	}
	return ""
}

// answers makes the source answer n times, eleven seconds apart.
func (s *service) answers(n int, hosts ...string) {
	for range n {
		time.Sleep(11 * time.Second)
		s.list(testSource, hosts...)
	}
}

// A target that goes is drained, and taken back when it is listed again meanwhile.
func TestDiscoveryDrainsAndTakesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wired(t, "-listen", "127.0.0.1:0", "-target", testSource)
		const a, b = "tcp://10.0.0.1:9", "tcp://10.0.0.2:9"
		s.answers(1, "10.0.0.1", "10.0.0.2")
		for _, x := range s.mode.targets() {
			x.Joined() // a connection with lines to confirm
		}
		s.answers(3, "10.0.0.2")
		if got := s.state(a); got == target.StateDraining {
			t.Error("goes too early")
		}
		s.answers(1, "10.0.0.2")
		if got := s.state(a); got != target.StateDraining {
			t.Errorf("%s is %s", a, got)
		}
		s.want(t, b+" "+testSource)
		s.answers(1, "10.0.0.1", "10.0.0.2")
		if got := s.state(a); got == target.StateDraining {
			t.Error("is not taken back")
		}
		s.want(t, a+" "+testSource, b+" "+testSource)
	})
}

// With -discovery-empty drain, even the last target is drained, and taken back later.
func TestDiscoveryOfNothing(t *testing.T) {
	both(t, func(t *testing.T, flags []string) {
		synctest.Test(t, func(t *testing.T) {
			s := wired(t, append(flags, "-target", testSource, "-discovery-empty", "drain")...)
			const a = "tcp://10.0.0.1:9"
			s.answers(1, "10.0.0.1")
			s.answers(3)
			if got := s.state(a); got != target.StateUnknown {
				t.Errorf("after three empty answers, %s is %s", a, got)
			}
			s.answers(3)
			if got := s.state(a); got != target.StateDrained && got != target.StateDraining {
				t.Errorf("after six empty answers, %s is %s", a, got)
			}
			s.answers(1, "10.0.0.1")
			if got := s.state(a); got != target.StateUnknown {
				t.Errorf("listed again, %s is %s", a, got)
			}
		})
	})
}
