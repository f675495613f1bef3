package discovery

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linesplit/target"
)

// world is a keeper with the targets that its changes lead to, and a clock.
type world struct {
	*testing.T
	k       *Keeper
	now     time.Time
	running []Running
	drained map[string]bool
}

const testInterval = 10 * time.Second

func newWorld(t *testing.T, r Rules, static string, sources ...string) *world {
	w := &world{T: t, k: NewKeeper(), now: time.Unix(1000, 0), drained: map[string]bool{}}
	for _, a := range addresses(static) {
		w.running = append(w.running, Running{Address: a})
	}
	w.apply(w.k.Configure(r, addresses(static), sources, w.running))
	return w
}

// addresses returns targets on hosts of one letter each.
func addresses(hosts string) (all []target.Address) {
	for h := range strings.SplitSeq(hosts, "") {
		all = append(all, target.Address{Scheme: target.SchemeTCP, Host: h + ":1"})
	}
	return all
}

func (w *world) apply(c Change) {
	for _, a := range c.Add {
		if slices.ContainsFunc(w.running, func(r Running) bool { return r.Address.String() == a.String() }) {
			w.Fatalf("%v added twice", a)
		}
		w.running = append(w.running, Running{Address: a})
	}
	for _, name := range c.Remove {
		i := w.index(name)
		w.running = slices.Delete(w.running, i, i+1)
		delete(w.drained, name)
	}
	for _, name := range c.Drain {
		w.index(name)
		w.drained[name] = true
	}
	for _, name := range c.Resume {
		delete(w.drained, name)
	}
	if len(c.Remove) > 0 && len(w.running) == 0 {
		w.Fatal("the last target went")
	}
}

func (w *world) index(name string) int {
	i := slices.IndexFunc(w.running, func(r Running) bool { return r.Address.String() == name })
	if i < 0 {
		w.Fatalf("%s does not run", name)
	}
	return i
}

// answer lets an interval pass, and gives the keeper an answer.
func (w *world) answer(source, hosts string) {
	w.now = w.now.Add(testInterval)
	w.apply(w.k.Answer(source, Answer{Targets: addresses(hosts)}, w.now, testInterval, w.running))
}

func (w *world) partial(source, hosts string) {
	w.now = w.now.Add(testInterval)
	a := Answer{Targets: addresses(hosts), Missing: errors.New("half of it")}
	w.apply(w.k.Answer(source, a, w.now, testInterval, w.running))
}

// hosts returns what runs, sorted; a host that is drained is in upper case.
func (w *world) hosts() string {
	var all []string
	for _, r := range w.running {
		host, _, _ := strings.Cut(r.Address.Host, ":")
		if w.drained[r.Address.String()] {
			host = strings.ToUpper(host)
		}
		all = append(all, host)
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func (w *world) want(hosts string) {
	w.Helper()
	if got := w.hosts(); got != hosts {
		w.Fatalf("running: %q, want %q", got, hosts)
	}
}

func (w *world) down(host string) { w.running[w.index("tcp://"+host+":1")].Down = true }

func (w *world) find(host string) target.Address {
	return w.running[w.index("tcp://"+host+":1")].Address
}

func (w *world) removeByHand(host string) {
	a := w.find(host)
	w.k.RemovedByHand(a)
	i := w.index(a.String())
	w.running = slices.Delete(w.running, i, i+1)
}

func (w *world) addByHand(host string) {
	a := addresses(host)[0]
	w.k.AddedByHand(a)
	w.running = append(w.running, Running{Address: a})
}

func TestKeeperAddsAndDropsAfterThreeAnswers(t *testing.T) {
	w := newWorld(t, Rules{}, "", "s")
	w.answer("s", "abcd")
	w.want("abcd")
	for range 3 {
		w.answer("s", "dcb") // the order means nothing
		w.want("abcd")       // three answers, but not 30 s
	}
	w.answer("s", "bcd")
	w.want("bcd")
	w.answer("s", "abcd")
	w.want("abcd")
	w.answer("s", "bcd")
	w.answer("s", "bcd")
	w.answer("s", "abcd") // the count begins anew
	w.answer("s", "bcd")
	w.answer("s", "bcd")
	w.answer("s", "bcd")
	w.want("abcd")
}

func TestKeeperDropsOneThatIsDownAtOnce(t *testing.T) {
	w := newWorld(t, Rules{}, "", "s")
	w.answer("s", "abcd")
	w.down("a")
	w.partial("s", "bcd")
	w.want("abcd")
	w.answer("s", "bcd")
	w.want("bcd")
}

func TestKeeperDropsHalfAtATimeAndNeverTheLast(t *testing.T) {
	w := newWorld(t, Rules{}, "", "s")
	w.answer("s", "abcdefgh")
	for range 3 {
		w.answer("s", "h")
	}
	for _, want := range []string{"efgh", "gh", "h", "h"} {
		w.answer("s", "h")
		w.want(want)
	}
	w.answer("s", "xy") // none of the old ones
	w.want("hxy")
	for range 10 {
		w.answer("s", "")
	}
	w.want("hxy")
	for range 4 {
		w.answer("s", "xy")
	}
	w.want("xy")
}

// A source that is asked seldom does not take another half after one that is asked often.
func TestKeeperDropsHalfOfAllSources(t *testing.T) {
	w := newWorld(t, Rules{}, "", "s", "u")
	w.answer("s", "abcd")
	w.answer("u", "efgh")
	for range 4 {
		w.answer("s", "a")
	}
	w.want("aefgh")
	for range 3 {
		w.now = w.now.Add(20 * time.Second)
		w.apply(w.k.Answer("s", Answer{Targets: addresses("a")}, w.now, testInterval, w.running)) // must not forget
		w.apply(w.k.Answer("u", Answer{Targets: addresses("e")}, w.now, 10*time.Minute, w.running))
	}
	w.want("aegh")
}

func TestKeeperEmptyAnswers(t *testing.T) {
	w := newWorld(t, Rules{DrainEmpty: true}, "", "s")
	w.answer("s", "abcd")
	for range 3 {
		w.answer("s", "")
	}
	w.want("abcd")
	for _, want := range []string{"cd", "d", "D", "D"} {
		w.answer("s", "")
		w.want(want)
	}
	w.answer("s", "d")
	w.want("d")
	for range 5 {
		w.answer("s", "")
	}
	w.want("D")
	w.answer("s", "ab")
	w.answer("s", "ab")
	w.want("ab")
}

func TestKeeperSourcesShareATarget(t *testing.T) {
	w := newWorld(t, Rules{}, "z", "s", "u")
	w.answer("s", "ab")
	w.answer("u", "bc")
	w.want("abcz")
	for range 5 {
		w.answer("s", "a")
	}
	w.want("abcz")
	for range 5 {
		w.answer("u", "c")
	}
	w.want("acz")
	if o := w.k.Origin(w.find("a")); !slices.Equal(o.Sources, []string{"s"}) || o.Configured || o.ByHand {
		t.Errorf("%+v", o)
	}
	if o := w.k.Origin(w.find("z")); len(o.Sources) > 0 || !o.Configured {
		t.Errorf("%+v", o)
	}
	if n := w.k.Listed("u"); n != 1 {
		t.Errorf("u lists %d", n)
	}
}

func TestKeeperHeedsHands(t *testing.T) {
	w := newWorld(t, Rules{}, "", "s")
	w.answer("s", "abc")
	w.addByHand("h")
	w.removeByHand("a")
	for range 5 {
		w.answer("s", "abc")
		w.want("bch")
	}
	w.partial("s", "bc")
	w.answer("s", "abc")
	w.want("bch")
	w.answer("s", "bc") // the source has dropped it once
	w.answer("s", "abc")
	w.want("abch")
	w.removeByHand("h")
	w.answer("s", "abch")
	w.want("abch")
	w.removeByHand("b")
	w.addByHand("b")
	for range 5 {
		w.answer("s", "ach")
	}
	w.want("abch")
}

// A reload that takes a source away does not take its targets before the others have answered.
func TestKeeperReconfigured(t *testing.T) {
	w := newWorld(t, Rules{}, "z", "s")
	w.answer("s", "abc")
	w.apply(w.k.Configure(Rules{}, addresses("y"), []string{"u"}, append(w.running, Running{Address: addresses("y")[0]})))
	w.running = append(w.running, Running{Address: addresses("y")[0]})
	w.want("abcyz")
	w.answer("s", "abcd") // too late
	w.partial("u", "b")
	w.want("abcyz")
	w.answer("u", "b")
	w.want("by")
	w.apply(w.k.Configure(Rules{}, nil, nil, w.running))
	if len(w.running) != 1 {
		t.Errorf("%q left", w.hosts())
	}
}

// A source that is written with another scheme leads to other targets at the same addresses.
func TestKeeperChangesTheScheme(t *testing.T) {
	w := newWorld(t, Rules{}, "", "s")
	w.answer("s", "ab")
	w.apply(w.k.Configure(Rules{}, nil, []string{"u"}, w.running))
	secure := addresses("ab")
	for i := range secure {
		secure[i].Scheme = target.SchemeTLS
	}
	w.apply(w.k.Answer("u", Answer{Targets: secure}, w.now, testInterval, w.running))
	var names []string
	for _, r := range w.running {
		names = append(names, r.Address.String())
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"tls://a:1", "tls://b:1"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestKeeperWeights(t *testing.T) {
	w := newWorld(t, Rules{}, "", "s")
	w.answer("s", "ab")
	heavier := addresses("ab")
	heavier[1].Weight = 7
	c := w.k.Answer("s", Answer{Targets: heavier}, w.now, testInterval, w.running)
	if diff := cmp.Diff(map[string]int{"tcp://b:1": 7}, c.Weights); diff != "" {
		t.Error(diff)
	}
	if c = w.k.Answer("s", Answer{Targets: heavier}, w.now, testInterval, w.running); !c.Empty() {
		t.Errorf("again: %+v", c)
	}
}
