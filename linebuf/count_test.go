package linebuf

import "testing"

func TestCountsAddAndSubtract(t *testing.T) {
	var a AtomicCount
	a.Add(Count{Lines: 3, Bytes: 300})
	a.Add(Count{Lines: 2, Bytes: 20})
	a.Sub(Count{Lines: 1, Bytes: 5})
	if got, want := a.Load(), (Count{Lines: 4, Bytes: 315}); got != want {
		t.Errorf("AtomicCount holds %v, want %v", got, want)
	}
	c := Count{Lines: 3, Bytes: 300}
	c.Add(Count{Lines: 2, Bytes: 20})
	c.Sub(Count{Lines: 1, Bytes: 5})
	if want := a.Load(); c != want {
		t.Errorf("Count is %v, want %v", c, want)
	}
}
