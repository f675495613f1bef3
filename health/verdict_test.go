package health

import (
	"testing"
)

func TestVerdict(t *testing.T) {
	tests := []struct {
		name       string
		rise, fall int
		results    string // + good, - bad
		states     string // after each: U, D; u, d while results are against it
	}{
		{"good", 2, 3, "++++", "UUUU"},
		{"down after three in a row", 2, 3, "---", "uuD"},
		{"isolated failures", 2, 3, "-+-+-+-+-+", "uUuUuUuUuU"},
		{"two in a row, again and again", 2, 3, "--+--+--+", "uuUuuUuuU"},
		{"up after two in a row", 2, 3, "---++", "uuDdU"},
		{"isolated successes", 2, 3, "---+-+-+--++", "uuDdDdDdDDdU"},
		{"at once", 1, 1, "-+-+", "DUDU"},
		{"slow to rise", 4, 1, "-+++-++++", "DdddDdddU"},
		{"flapping at its fastest", 2, 2, "--++--++", "uDdUuDdU"},
	}
	for _, test := range tests {
		v := verdict{up: true, rise: test.rise, fall: test.fall}
		var states []byte
		for _, result := range test.results {
			v.add(result == '+')
			state := map[bool]byte{true: 'U', false: 'D'}[v.up]
			if v.changing() {
				state += 'a' - 'A'
			}
			states = append(states, state)
		}
		if string(states) != test.states {
			t.Errorf("%s: %s gave %s, want %s", test.name, test.results, states, test.states)
		}
	}
}

// The verdict against a naive reading of the results.
func FuzzVerdict(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 1, 1}, uint8(2), uint8(3))
	f.Fuzz(func(t *testing.T, results []byte, rise, fall uint8) {
		v := verdict{up: true, rise: max(1, int(rise)), fall: max(1, int(fall))}
		up := true
		for i := range results {
			good := results[i]&1 == 1
			v.add(good)
			needed := v.fall
			if good {
				needed = v.rise
			}
			if row(results[:i+1]) >= needed {
				up = good
			}
			if v.up != up {
				t.Fatalf("up %v after %v, want %v", v.up, results[:i+1], up)
			}
		}
	})
}

// row counts the equal results at the end.
func row(results []byte) int {
	n := 0
	for n < len(results) && results[len(results)-1-n]&1 == results[len(results)-1]&1 {
		n++
	}
	return n
}
