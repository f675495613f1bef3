package service

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/discovery"
	"linesplit/target"
)

const archiveSource = "dns://archive.test:9"

// wiredGroups returns a service with a source for each of two groups.
func wiredGroups(t *testing.T, archive string) *service {
	return wired(t, "-listen", "127.0.0.1:0", "-target", testSource, "-group", "archive="+archive)
}

// listIn makes the source of a group answer with hosts at port 9.
func (s *service) listIn(group, source string, hosts ...string) error {
	var a discovery.Answer
	for _, h := range hosts {
		a.Targets = append(a.Targets, target.Address{Scheme: target.SchemeTCP, Host: h + ":9", HostName: "receivers.test", Group: group})
	}
	return s.found(source, a, 10*time.Second)
}

// groupOf returns the group of a target that runs; empty if none does.
func (s *service) groupOf(name string) string {
	for _, t := range s.Status().Targets {
		if t.Name == name {
			return t.Group
		}
	}
	return ""
}

// Each source finds targets for its group, and a required group without targets is not ready.
func TestDiscoveryInGroups(t *testing.T) {
	s := wiredGroups(t, archiveSource)
	if err := s.list(testSource, "10.0.0.1"); err != nil {
		t.Error(err)
	}
	if ready, why := s.ready(); ready || !strings.Contains(why, "no target of group archive has been found yet: "+archiveSource) {
		t.Errorf("ready: %t, %s", ready, why)
	}
	if err := s.listIn("archive", archiveSource, "10.0.1.1", "10.0.1.2"); err != nil {
		t.Error(err)
	}
	s.want(t, "tcp://10.0.0.1:9 "+testSource, "tcp://10.0.1.1:9 "+archiveSource, "tcp://10.0.1.2:9 "+archiveSource)
	if s.groupOf("tcp://10.0.0.1:9") != "main" || s.groupOf("tcp://10.0.1.1:9") != "archive" {
		t.Errorf("%+v", s.Status().Targets)
	}
	if st := s.Status().Sources; len(st) != 2 || st[0].Group != "main" || st[1].Group != "archive" || st[1].Targets != 2 {
		t.Errorf("%+v", st)
	}
	for _, setting := range s.Config() {
		if setting.Name == "group" && setting.Value != "archive="+archiveSource {
			t.Errorf("the setting is shown as %+v", setting)
		}
	}
	best := wiredGroups(t, archiveSource+"?required=false")
	if err := best.list(testSource, "10.0.0.1"); err != nil {
		t.Error(err)
	}
	if _, why := best.ready(); strings.Contains(why, "found") {
		t.Errorf("a best-effort group is waited for: %s", why)
	}
}

// A target that is in one group already is left out of the answer of another group's source, and
// said to be.
func TestDiscoveryKeepsGroupsApart(t *testing.T) {
	s := wiredGroups(t, archiveSource+",10.0.1.9:9")
	if err := errors.Join(s.list(testSource, "10.0.0.1"), s.listIn("archive", archiveSource, "10.0.1.1")); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"10.0.1.1", "10.0.1.9"} {
		if err := s.list(testSource, "10.0.0.1", host); err == nil || !strings.Contains(err.Error(), "it is in the group archive, and no two groups") {
			t.Errorf("%s: %v", host, err)
		}
		if got := s.groupOf("tcp://" + host + ":9"); got != "archive" {
			t.Errorf("%s is in the group %q", host, got)
		}
	}
}

// The rules of discovery hold for each group by itself: its last target stays, and half of it may
// go, whatever other groups have.
func TestDiscoveryRulesOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := wiredGroups(t, archiveSource)
		if err := errors.Join(s.list(testSource, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"),
			s.listIn("archive", archiveSource, "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4")); err != nil {
			t.Fatal(err)
		}
		left := func() (n int) {
			for _, x := range s.mode.targets() {
				if x.Address.Group == "archive" {
					n++
				}
			}
			return n
		}
		for _, want := range []int{4, 4, 4, 2, 1, 0, 0} { // after 30 s at most half of the group goes at a time
			if err := s.listIn("archive", archiveSource, "10.0.1.9"); err != nil {
				t.Error(err)
			}
			if n := left() - 1; n != want {
				t.Errorf("%d of the old targets are left, want %d", n, want)
			}
			time.Sleep(11 * time.Second)
		}
		if err := s.list(testSource, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"); err != nil {
			t.Error(err)
		}
		if got := len(s.mode.targets()); got != 5+left() {
			t.Errorf("%d targets", got)
		}
	})
}
