//go:build linux

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

var (
	changes = flag.Int("changes", 5, "how often lists of targets change in tests of discovery; "+
		"those that need minutes run from 50 on")
	changesRate = flag.Int("changes.rate", 2000, "lines per second of each of the two senders in these tests")
)

// skipUnlessLong skips a test that takes minutes unless -changes asks for it.
func skipUnlessLong(t *testing.T) {
	t.Helper()
	if *changes < 50 {
		t.Skip("takes minutes: -changes 50")
	}
}

const (
	ownPort     = 9999            // of all members: the network is the test's own
	ownTTL      = 5 * time.Second // of what the name server answers
	shareWithin = ownTTL + 2*time.Second
	shareWindow = 2 * time.Second // after it, in which a share is measured
)

// roster is a fleet of targets, of which sources list some, others after each change. It has a
// network of its own, in which all targets have the same port. It belongs to the test's goroutine.
type roster struct {
	*testrig.Stage
	rand    *rand.Rand
	members []*member
	sources []func(listed []*member) // each replaces what a source lists
	settle  time.Duration            // how long a member stays listed at least
	perLine float64                  // of a member's fair share of lines or connections per second, the least that will do
}

// member is one target of a fleet.
type member struct {
	testrig.Target
	host    string
	fixed   bool          // the configuration lists it
	listed  []bool        // by source
	since   time.Time     // when one of them last listed it, or ceased to
	sink    *testrig.Sink // nil in connection mode
	ended   bool
	count   func() int // lines or connections so far
	awaited time.Time  // since when it has to come to its share; zero: it need not
	before  int        // count at that time
	first   time.Time  // when it got its first
}

func newRoster(s *testrig.Stage) *roster {
	seed := rand.Uint64()
	s.Logf("seed %d", seed)
	return &roster{Stage: s, rand: rand.New(rand.NewPCG(seed, 0)), settle: shareWithin + shareWindow + time.Second}
}

// rosterNetwork has two addresses of different families for each member but the first, and the name
// server at the usual port.
func rosterNetwork() (n testrig.OwnNetwork, hosts []string) {
	n.ResolvConf = "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n"
	for i := range 8 {
		six := fmt.Sprintf("fd00::%d", i+1)
		n.Addresses = append(n.Addresses, six+"/128")
		hosts = append(hosts, six, fmt.Sprintf("127.7.0.%d", i+1))
	}
	return n, hosts
}

func address(host string) string { return net.JoinHostPort(host, strconv.Itoa(ownPort)) }

// join adds a member to the fleet.
func (c *roster) join(host string, t testrig.Target, count func() int) *member {
	m := &member{Target: t, host: host, listed: make([]bool, len(c.sources)), count: count}
	c.members = append(c.members, m)
	return m
}

// listDNS adds a source: the name server's name receivers.test.
func (c *roster) listDNS(s *testrig.NameServer) {
	c.sources = append(c.sources, func(listed []*member) {
		var hosts []string
		for _, m := range listed {
			hosts = append(hosts, m.host)
		}
		s.Set(named(hosts...)...)
	})
}

// listFile adds a source: a file.
func (c *roster) listFile(f listFile) {
	c.sources = append(c.sources, func(listed []*member) {
		var targets []testrig.Target
		for _, m := range listed {
			targets = append(targets, m.Target)
		}
		putList(f, targets...)
	})
}

// known reports whether anything lists the member.
func (m *member) known() bool { return m.fixed || slices.Contains(m.listed, true) }

// present returns the members that something lists.
func (c *roster) present() (all []*member) {
	for _, m := range c.members {
		if m.known() {
			all = append(all, m)
		}
	}
	return all
}

// set makes a source list n members, and these alone.
func (c *roster) set(source, n int) {
	for i, m := range c.members {
		m.listed[source] = i < n
		m.since = time.Now()
	}
	c.publish(source)
}

// publish makes a source list what is to be listed.
func (c *roster) publish(source int) {
	var listed []*member
	for _, m := range c.members {
		if m.listed[source] {
			listed = append(listed, m)
		}
	}
	c.rand.Shuffle(len(listed), func(i, j int) { listed[i], listed[j] = listed[j], listed[i] })
	c.sources[source](listed)
}

// running returns the names of the targets that linesplit has, draining ones included.
func (c *roster) running() (names []string) {
	for series := range c.Process.Metrics() {
		if rest, is := strings.CutPrefix(series, `linesplit_target_up{target="`); is {
			name, _, _ := strings.Cut(rest, `"`)
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// change lets one or two members come to a source, go from it, or both. There are three to eight
// members at most times, and at least two at all times.
func (c *roster) change() {
	c.Helper()
	source, there := c.rand.IntN(len(c.sources)), c.running()
	n := len(c.present())
	comes, goes := n < 8, n > 3
	if comes && goes {
		kind := c.rand.IntN(3)
		comes, goes = kind != 1, kind != 0
	}
	changed := 0
	for _, i := range c.rand.Perm(len(c.members)) {
		m := c.members[i]
		switch {
		case changed == 4 || m.listed[source] && (!goes || len(c.present()) <= 2 || time.Since(m.since) < c.settle):
			continue
		case !m.listed[source] && !comes:
			continue
		case m.listed[source]:
			goes = c.rand.IntN(2) == 0
		default:
			comes = c.rand.IntN(2) == 0
			c.welcome(m, there)
		}
		m.listed[source] = !m.listed[source]
		m.since = time.Now()
		changed++
	}
	c.publish(source)
}

// welcome lets a member that had ended work again. One that linesplit does not know yet has to come
// to its share.
func (c *roster) welcome(m *member, there []string) {
	if m.ended {
		m.sink.Listen()
		m.ended = false
	}
	if !m.known() && !slices.Contains(there, m.Target.Target()) {
		m.awaited, m.first, m.before = time.Now(), time.Time{}, m.count()
	}
}

// pass lets time pass, in which those that have to come to their share are watched.
func (c *roster) pass(d time.Duration) {
	c.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, m := range c.members {
			if !m.awaited.IsZero() {
				c.watch(m)
			}
		}
	}
}

func (c *roster) watch(m *member) {
	c.Helper()
	got, after := m.count()-m.before, time.Since(m.awaited)
	if got > 0 && m.first.IsZero() {
		m.first = time.Now()
		c.Logf("%s: the first after %v", m.Target.Target(), after.Round(10*time.Millisecond))
		if after > shareWithin {
			c.Errorf("%s got its first after %v", m.Target.Target(), after)
		}
	}
	if after < shareWithin+shareWindow {
		return
	}
	m.awaited = time.Time{}
	if m.first.IsZero() {
		c.Errorf("%s got nothing within %v", m.Target.Target(), after)
		return
	}
	within := time.Since(m.first).Seconds()
	if least := c.perLine * within / float64(len(c.running())); float64(got) < least {
		c.Errorf("%s got %d within %.1f s of its first, want %.0f at least", m.Target.Target(), got, within, least)
	}
}

// end ends a sink that nothing lists any more, as a receiver that is told to stop does: it sends
// FIN and reads to the end.
func (c *roster) end() {
	for _, m := range c.members {
		if m.sink != nil && !m.ended && !m.known() && time.Since(m.since) > testrig.FINAge {
			m.sink.Shutdown()
			m.ended = true
			return
		}
	}
}

// run changes the lists as often as -changes says. In the end the sources list the first n members
// again, and linesplit has these alone.
func (c *roster) run(n int) {
	c.Helper()
	for i := range *changes {
		c.change()
		c.pass(2*time.Second + time.Duration(c.rand.Int64N(int64(3*time.Second))))
		if i%3 == 0 {
			c.end()
		}
	}
	for _, m := range c.members[:n] {
		c.welcome(m, nil)
		m.awaited = time.Time{}
	}
	var want []string
	for i := range c.sources {
		c.set(i, n)
	}
	for _, m := range c.present() {
		want = append(want, m.Target.Target())
	}
	slices.Sort(want)
	var got []string
	if !testrig.Poll(2*testrig.Patience, func() bool { got = c.running(); return slices.Equal(got, want) }) {
		c.Fatalf("targets %q, want %q\n%s", got, want, c.Process.LastLines(30))
	}
}
