package flags

import "testing"

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"port", "port", 0}, {"port", "prt", 1}, {"port", "prot", 2}, {"port", "ports", 1}, {"addr", "xddr", 1}, {"a", "abcd", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if a, b := distance(test.a, test.b), distance(test.b, test.a); a != b {
			t.Errorf("distance(%q, %q): %d one way, %d the other", test.a, test.b, a, b)
		}
	}
}
