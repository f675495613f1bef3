package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever happens: at most half of all go in an interval, never the last, and only such as the
// source that answers has left out for long enough, or that are down. What a source lists runs.
func TestKeeperProperties(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newKeeperModel(t, rand.New(rand.NewPCG(seed, 1)))
			for range 200 {
				m.step()
			}
			for _, l := range m.k.sources {
				if len(l.targets) > 8 {
					t.Errorf("remembers %v", slices.Sorted(maps.Keys(l.targets)))
				}
			}
		})
	}
}

// keeperModel is the rules in their simplest form, beside a keeper that gets the same answers.
type keeperModel struct {
	*world
	random *rand.Rand
	views  map[string]*view // by source
	byHand map[string]bool
}

// view is what a source has said about hosts.
type view struct {
	missing map[string]int       // answers in a row without a host that was listed
	since   map[string]time.Time // of the first of these
	banned  map[string]bool      // removed by hand
}

func newKeeperModel(t *testing.T, random *rand.Rand) *keeperModel {
	m := &keeperModel{random: random, views: map[string]*view{}, byHand: map[string]bool{},
		world: newWorld(t, Rules{DrainEmpty: random.IntN(4) == 0}, strings.Repeat("z", random.IntN(2)), "s", "u")}
	for _, source := range []string{"s", "u"} {
		m.views[source] = &view{map[string]int{}, map[string]time.Time{}, map[string]bool{}}
	}
	return m
}

// step does one thing at random.
func (m *keeperModel) step() {
	switch m.random.IntN(12) {
	case 0:
		if n := len(m.running); n > 0 {
			m.running[m.random.IntN(n)].Down = m.random.IntN(2) == 0
		}
	case 1:
		m.handRemoves()
	case 2:
		m.handAdds(string(rune('a' + m.random.IntN(8))))
	default:
		m.answers([]string{"s", "u"}[m.random.IntN(2)], m.someHosts(), m.random.IntN(6) == 0)
	}
}

func (m *keeperModel) someHosts() string {
	if m.random.IntN(15) == 0 {
		return ""
	}
	var hosts strings.Builder
	for h := 'a'; h < 'i'; h++ {
		if m.random.IntN(10) < 8 {
			hosts.WriteRune(h)
		}
	}
	return hosts.String()
}

func (m *keeperModel) handRemoves() {
	if len(m.running) < 2 {
		return
	}
	host := strings.ToLower(string(m.hosts()[m.random.IntN(len(m.running))]))
	m.removeByHand(host)
	delete(m.byHand, host)
	for _, v := range m.views {
		if n, listed := v.missing[host]; listed && n == 0 {
			v.banned[host] = true
		}
	}
}

func (m *keeperModel) handAdds(host string) {
	if strings.Contains(strings.ToLower(m.hosts()), host) {
		return
	}
	m.addByHand(host)
	m.byHand[host] = true
	for _, v := range m.views {
		delete(v.banned, host)
	}
}

// answers lets a source answer, and judges what the keeper does.
func (m *keeperModel) answers(source, list string, part bool) {
	before, down := strings.ToLower(m.hosts()), map[string]bool{}
	for _, r := range m.running {
		down[r.Address.Host[:1]] = r.Down
	}
	if part {
		m.partial(source, list)
	} else {
		m.answer(source, list)
	}
	v := m.views[source]
	if list != "" || m.k.rules.DrainEmpty {
		v.note(list, part, m.now)
	}
	after := strings.ToLower(m.hosts())
	gone := 0
	for h := range strings.SplitSeq(before, "") {
		if strings.Contains(after, h) {
			continue
		}
		gone++
		long := v.missing[h] >= dropAfter && m.now.Sub(v.since[h]) >= dropAge
		if h == "z" || m.byHand[h] || v.missing[h] == 0 || !down[h] && !long {
			m.Fatalf("%s went after %d answers of %s without it; down: %t, by hand: %t", h, v.missing[h], source, down[h], m.byHand[h])
		}
	}
	if 2*gone > len(before) {
		m.Fatalf("%d of %s went at once", gone, before)
	}
	for h := range strings.SplitSeq(list, "") {
		if !v.banned[h] && !strings.Contains(after, h) {
			m.Fatalf("%s lists %s, which does not run", source, h)
		}
	}
}

// note takes an answer.
func (v *view) note(list string, part bool, now time.Time) {
	for h := 'a'; h < 'i'; h++ {
		host := string(h)
		_, known := v.missing[host]
		switch {
		case strings.ContainsRune(list, h):
			v.missing[host] = 0
		case !known || part:
		case v.banned[host]:
			delete(v.banned, host)
			delete(v.missing, host)
		default:
			if v.missing[host] == 0 {
				v.since[host] = now
			}
			v.missing[host]++
		}
	}
}
