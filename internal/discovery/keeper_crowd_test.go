package discovery

import (
	"errors"
	"fmt"
	"testing"

	"linesplit/target"
)

// crowd returns n targets, of which no other turn has any.
func crowd(turn, n int) (all []target.Address) {
	for i := range n {
		all = append(all, target.Address{Scheme: target.SchemeTCP, Host: fmt.Sprintf("h%d-%d:1", turn, i)})
	}
	return all
}

// A source that lists other targets each time, and never completely, as where its server does not
// answer about AAAA records, added targets without end: each had workers that dialled it for ever.
func TestTargetsOfIncompleteAnswersDoNotAddUp(t *testing.T) {
	w := newWorld(t, Rules{}, "a", "s")
	for turn := range 8 {
		w.now = w.now.Add(testInterval)
		a := Answer{Targets: crowd(turn, 400), Missing: errors.New("no answer about AAAA records")}
		w.apply(w.k.Answer("s", a, w.now, testInterval, w.running))
		if n := len(w.running); n > MaxListed+1 {
			t.Fatalf("%d targets after %d answers", n, turn+1)
		}
		for i := range w.running[1:] {
			w.running[1+i].Down = true
		}
	}
	last := 0
	for _, r := range w.running {
		for _, a := range crowd(7, 400) {
			if r.Address == a {
				last++
			}
		}
	}
	if last != 400 {
		t.Errorf("%d of the last 400 targets are there", last)
	}
}

// Targets that are up stay, whatever incomplete answers list; there is room for no more of them.
func TestTargetsThatWaitForRoom(t *testing.T) {
	for _, missing := range []error{nil, errors.New("one host of a record")} {
		w := newWorld(t, Rules{}, "a", "s")
		var c Change
		for turn := range 3 {
			w.now = w.now.Add(testInterval / 10)
			c = w.k.Answer("s", Answer{Targets: crowd(turn, 1000), Missing: missing}, w.now, testInterval, w.running)
			w.apply(c)
		}
		if len(w.running) != MaxListed+1 || c.Waiting != 1000 || !c.Empty() {
			t.Errorf("%v: %d targets, %d wait", missing, len(w.running), c.Waiting)
		}
	}
}
