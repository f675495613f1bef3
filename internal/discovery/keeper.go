package discovery

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"linesplit/target"
)

const (
	// dropAfter is the number of answers in a row without a target after which it goes, and dropAge
	// the least time since the first of them.
	dropAfter = 3
	dropAge   = 30 * time.Second
	// maxGone is the number of removals that a Keeper remembers.
	maxGone = 4096
)

// Keeper decides from the answers of the sources which targets there are. It has no goroutine, no
// socket and no clock: it takes answers and returns changes. A failed lookup is no answer, so it
// never removes a target.
//
// The rules:
//   - A target that a source lists is added. Its identity is its network, address and port.
//   - It is removed after three answers of the source without it, and at the earliest 30 s after
//     the first of them. If it is down as well, it is removed at the first one.
//   - At most half of all targets are removed in one interval of a source, and never the last one.
//   - It stays while another source lists it, the configuration names it, or it was added by hand.
//   - A target that was removed by hand is not added again until each source that listed it has
//     answered without it.
//   - An empty answer is no answer, unless Rules.DrainEmpty is set: then it counts like any other,
//     and the last target is drained and kept.
//   - A source has at most MaxListed targets; further ones wait until others have gone. An
//     incomplete answer removes nothing, except that of more than maxTargets those go that are
//     down.
//
// A Keeper is not safe for concurrent use. The caller applies each change at once. A change that
// fails is returned again with the next answer.
type Keeper struct {
	rules   Rules
	static  map[string]bool     // keys of the targets that the configuration names
	byHand  map[string]bool     // keys of the targets that were added by hand
	sources map[string]*listing // by name
	drained map[string]bool     // key of the last target, if an empty answer has drained it
	gone    []time.Time         // when targets were removed, oldest first
}

// Rules are the settings of a Keeper.
type Rules struct {
	DrainEmpty bool // empty answers count
}

// errEmpty is the error of ErrEmpty.
var errEmpty = errors.New("the answer is empty: the targets stay as they are")

// ErrEmpty returns an error if targets, those of an answer, are none, and r ignores such answers.
func (r Rules) ErrEmpty(targets []target.Address) error {
	if len(targets) == 0 && !r.DrainEmpty {
		return errEmpty
	}
	return nil
}

// listing has the targets that one source has listed.
type listing struct {
	answered bool               // the source has given a complete answer
	targets  map[string]*listed // by key
}

// listed is a target in the listing of a source.
type listed struct {
	address target.Address
	missing int       // number of answers in a row without the target
	since   time.Time // time of the first of these
	banned  bool      // the target was removed by hand
}

// Running is a target that gets lines or connections, or is drained, and is not being removed.
type Running struct {
	Address target.Address
	Down    bool
}

// Answer is the list of targets that a source has returned.
type Answer struct {
	Targets []target.Address // in any order
	// Missing is the reason why the list may be incomplete, or nil. An incomplete answer adds
	// targets and removes none.
	Missing error
	// TTL is how long the answer is valid; 0 if the source does not say.
	TTL time.Duration
}

// Change lists what the caller has to do. Names are those of target.Address.String.
type Change struct {
	Add     []target.Address // to add, or to take back if they are being removed
	Remove  []string         // names of targets
	Drain   []string         // name of the last target, to drain and keep
	Resume  []string         // names of targets that an earlier change has drained
	Weights map[string]int   // new weights of running targets, by name
	// Waiting is the number of targets in the answer for which there is no room yet. It is nothing
	// to do.
	Waiting int
}

// Empty reports whether there is nothing to do.
func (c Change) Empty() bool {
	return len(c.Add)+len(c.Remove)+len(c.Drain)+len(c.Resume)+len(c.Weights) == 0
}

// NewKeeper returns a Keeper without sources and targets; Configure sets them.
func NewKeeper() *Keeper {
	return &Keeper{byHand: map[string]bool{}, sources: map[string]*listing{}, drained: map[string]bool{}}
}

// Configure sets the rules, the targets that the configuration names, and the names of the sources.
// The change removes targets that neither the configuration nor a source lists any more. They stay
// while a source has not answered yet: it may list them, or those that take their place.
func (k *Keeper) Configure(r Rules, static []target.Address, sources []string, running []Running) Change {
	k.rules, k.static = r, map[string]bool{}
	for _, a := range static {
		k.static[a.Key()] = true
	}
	maps.DeleteFunc(k.sources, func(name string, _ *listing) bool { return !slices.Contains(sources, name) })
	for _, name := range sources {
		if k.sources[name] == nil {
			k.sources[name] = &listing{targets: map[string]*listed{}}
		}
	}
	var c Change
	k.removeOrphans(&c, running)
	return c
}

// Answer takes an answer of a source, and returns the change that it causes. interval is the time
// until the next answer.
func (k *Keeper) Answer(source string, a Answer, now time.Time, interval time.Duration, running []Running) Change {
	l := k.sources[source]
	if l == nil { // it was removed from the configuration meanwhile
		return Change{}
	}
	if len(a.Targets) == 0 && !k.rules.DrainEmpty {
		return Change{}
	}
	c := Change{Weights: map[string]int{}}
	l.answered = l.answered || a.Missing == nil
	k.updateListing(l, a, now, &c, keysOf(running))
	if len(l.targets) > maxTargets && a.Missing != nil {
		l.missDown(a, now, running)
	}
	k.add(l, &c, running)
	k.remove(l, &c, now, interval, running)
	k.removeOrphans(&c, running)
	return c
}

// updateListing updates l from an answer. It adds to c the new weights of running targets, which
// are those in there.
func (k *Keeper) updateListing(l *listing, a Answer, now time.Time, c *Change, there map[string]target.Address) {
	seen := make(map[string]bool, len(a.Targets))
	for _, t := range a.Targets {
		key := t.Key()
		if seen[key] {
			continue
		}
		seen[key] = true
		was := l.targets[key]
		if is, runs := there[key]; runs && is.String() == t.String() && is.Share() != t.Share() &&
			(was == nil || was.address.Share() != t.Share()) && !k.static[key] && !k.byHand[key] {
			c.Weights[t.String()] = t.Share()
		}
		if was == nil {
			if len(l.targets) >= MaxListed {
				c.Waiting++
				continue
			}
			l.targets[key] = &listed{address: t}
			continue
		}
		was.address, was.missing = t, 0
	}
	if a.Missing != nil {
		return
	}
	for key, t := range l.targets {
		switch {
		case seen[key]:
		case t.banned: // the source has dropped it once
			delete(l.targets, key)
		default:
			if t.missing == 0 {
				t.since = now
			}
			t.missing++
		}
	}
}

// add adds the targets of l that are not running, and resumes those that were drained.
func (k *Keeper) add(l *listing, c *Change, running []Running) {
	there := keysOf(running)
	for _, key := range slices.Sorted(maps.Keys(l.targets)) {
		t := l.targets[key]
		now, isThere := there[key]
		switch {
		case t.banned || t.missing > 0:
		case !isThere:
			c.Add = append(c.Add, t.address)
			delete(k.drained, key)
		case k.renamed(key, now):
			c.Add = append(c.Add, t.address)
			c.Remove = append(c.Remove, now.String())
			delete(k.drained, key)
		case k.drained[key]:
			c.Resume = append(c.Resume, t.address.String())
			delete(k.drained, key)
		}
	}
}

// renamed reports whether sources list a running target under other names only, since its scheme
// has changed.
func (k *Keeper) renamed(key string, running target.Address) bool {
	if k.static[key] || k.byHand[key] {
		return false
	}
	for _, l := range k.sources {
		if t := l.targets[key]; t != nil && !t.banned && t.address.String() == running.String() {
			return false
		}
	}
	return true
}

// candidate is a running target that no source lists any more.
type candidate struct {
	Running
	key   string
	since time.Time // time of the first answer without it
}

// remove removes targets that l has dropped, as far as the rules allow. It forgets targets that are
// neither running nor listed.
func (k *Keeper) remove(l *listing, c *Change, now time.Time, interval time.Duration, running []Running) {
	there := keysOf(running)
	maps.DeleteFunc(l.targets, func(key string, t *listed) bool {
		_, isThere := there[key]
		return t.missing > 0 && !isThere && !t.banned
	})
	var candidates []candidate
	for _, r := range running {
		key := r.Address.Key()
		t := l.targets[key]
		if t == nil || !dropped(t, r.Down, now) || k.wanted(key, l) {
			continue
		}
		candidates = append(candidates, candidate{r, key, t.since})
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		return cmp.Or(compareBool(b.Down, a.Down), a.since.Compare(b.since), strings.Compare(a.key, b.key))
	})
	lately := k.goneSince(now.Add(-interval))
	budget := (len(running)+lately)/2 - lately
	for _, d := range candidates[:min(len(candidates), max(0, budget))] {
		c.Remove = append(c.Remove, d.Address.String())
		k.gone = append(k.gone, now)
		delete(k.drained, d.key)
	}
	if k.rules.DrainEmpty && len(running) == 1 && len(candidates) == 1 && len(c.Add) == 0 && !k.drained[candidates[0].key] {
		k.drained[candidates[0].key] = true
		c.Drain = append(c.Drain, candidates[0].Address.String())
	}
}

// goneSince returns the number of targets that were removed after t. It forgets the oldest removals
// if there are more than maxGone.
func (k *Keeper) goneSince(t time.Time) int {
	k.gone = k.gone[max(0, len(k.gone)-maxGone):]
	i, _ := slices.BinarySearchFunc(k.gone, t, func(at, t time.Time) int {
		if at.After(t) {
			return 1
		}
		return -1
	})
	return len(k.gone) - i
}

// dropped reports whether enough answers of a source lacked a target to remove it.
func dropped(t *listed, down bool, now time.Time) bool {
	return t.missing > 0 && down || t.missing >= dropAfter && now.Sub(t.since) >= dropAge
}

// wanted reports whether a target stays although l has dropped it.
func (k *Keeper) wanted(key string, l *listing) bool {
	if k.static[key] || k.byHand[key] {
		return true
	}
	for _, other := range k.sources {
		if t := other.targets[key]; other != l && t != nil && !t.banned && t.missing < dropAfter {
			return true
		}
	}
	return false
}

// removeOrphans removes the targets that were not added by hand and that neither the configuration
// nor a source lists any more. It waits until all sources have answered, and keeps the last target.
func (k *Keeper) removeOrphans(c *Change, running []Running) {
	for _, l := range k.sources {
		if !l.answered {
			return
		}
	}
	left := len(running) + len(c.Add) - len(c.Remove)
	for _, r := range running {
		if left > 1 && !k.known(r.Address.Key()) {
			c.Remove = append(c.Remove, r.Address.String())
			left--
		}
	}
}

// known reports whether the configuration names a target, it was added by hand, or a source lists
// it or has listed it lately.
func (k *Keeper) known(key string) bool {
	if k.static[key] || k.byHand[key] {
		return true
	}
	for _, l := range k.sources {
		if l.targets[key] != nil {
			return true
		}
	}
	return false
}

// AddedByHand notes that a target was added by hand, and so stays whatever sources list.
func (k *Keeper) AddedByHand(a target.Address) {
	key := a.Key()
	k.byHand[key] = true
	for _, l := range k.sources {
		if t := l.targets[key]; t != nil {
			t.banned = false
		}
	}
}

// RemovedByHand notes that a target was removed by hand.
func (k *Keeper) RemovedByHand(a target.Address) {
	key := a.Key()
	delete(k.byHand, key)
	delete(k.static, key)
	delete(k.drained, key)
	for _, l := range k.sources {
		switch t := l.targets[key]; {
		case t == nil:
		case t.missing > 0: // the source has dropped it already
			delete(l.targets, key)
		default:
			t.banned = true
		}
	}
}

// ResumedByHand notes that a target that was being removed was taken back by hand.
func (k *Keeper) ResumedByHand(a target.Address) {
	key := a.Key()
	delete(k.drained, key)
	if !k.known(key) {
		k.byHand[key] = true
	}
	for _, l := range k.sources {
		if t := l.targets[key]; t != nil {
			t.banned, t.missing = false, 0
		}
	}
}

// Origin tells where a target comes from.
type Origin struct {
	Configured, ByHand bool     // the configuration names it; it was added by hand
	Sources            []string // names of the sources that list it or have listed it lately, sorted
}

// Origin returns where a running target comes from.
func (k *Keeper) Origin(a target.Address) Origin {
	key := a.Key()
	o := Origin{Configured: k.static[key], ByHand: k.byHand[key]}
	for name, l := range k.sources {
		if t := l.targets[key]; t != nil && !t.banned {
			o.Sources = append(o.Sources, name)
		}
	}
	slices.Sort(o.Sources)
	return o
}

// Listed returns the number of targets that a source lists, less those that were removed by hand.
func (k *Keeper) Listed(source string) (n int) {
	l := k.sources[source]
	if l == nil {
		return 0
	}
	for _, t := range l.targets {
		if !t.banned && t.missing == 0 {
			n++
		}
	}
	return n
}

// keysOf returns the addresses of running targets by their keys.
func keysOf(running []Running) map[string]target.Address {
	keys := make(map[string]target.Address, len(running))
	for _, r := range running {
		keys[r.Address.Key()] = r.Address
	}
	return keys
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
