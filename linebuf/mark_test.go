package linebuf

import (
	"slices"
	"testing"
)

// Lines of several runs keep their marks when the first ones are taken out, and when they are
// copied.
func TestMarksOfRuns(t *testing.T) {
	a, b := Mark{Source: 1, Number: 5}, Mark{Source: 2, Number: 7}
	runs := []Run{{a, 2}, {b, 3}}
	for skipped, want := range [][]Run{
		{{a, 2}, {b, 3}}, {{a.Plus(1), 1}, {b, 3}}, {{b, 3}}, {{b.Plus(1), 2}}, {{b.Plus(2), 1}}, nil,
	} {
		var one, other Buffer
		one.MarkRuns(runs)
		one.Batch = a
		other.MarkLike(&one, skipped)
		one.Skip(skipped)
		for _, buffer := range []*Buffer{&one, &other} {
			var origin Mark
			if len(want) > 0 {
				origin = want[0].First
			}
			if !slices.Equal(buffer.Runs(), want) || buffer.Origin != origin || buffer.Batch != a {
				t.Errorf("without %d lines: %v from %v, want %v", skipped, buffer.Runs(), buffer.Origin, want)
			}
		}
	}
	if !slices.Equal(runs, []Run{{a, 2}, {b, 3}}) {
		t.Errorf("the runs have changed: %v", runs)
	}
}

// Views have the marks of what they share, and a buffer that is used again has none.
func TestMarksOfViews(t *testing.T) {
	p := NewPool(0)
	b := p.MustGet(10)
	b.MarkRuns([]Run{{Mark{Source: 1}, 1}, {Mark{Source: 2}, 1}})
	views := p.Share(b, []*Account{{}, {}}, nil)
	for _, v := range views {
		if len(v.Runs()) != 2 || v.Origin != (Mark{Source: 1}) {
			t.Errorf("a view has %v", v.Runs())
		}
		p.Put(v)
	}
	if again := p.MustGet(10); again.Runs() != nil || !again.Origin.IsZero() {
		t.Errorf("a used buffer has %v", again.Runs())
	}
}
