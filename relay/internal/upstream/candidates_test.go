package upstream

import (
	"fmt"
	"io"
	"net/netip"
	"testing"

	"linesplit/target"
)

// TestCandidatesByStateOfTheTargets lists which targets may be chosen for each state of all.
func TestCandidatesByStateOfTheTargets(t *testing.T) {
	const up, failed, unhealthy = 'u', 'f', 'e' // failed: by dials; unhealthy: by checks
	for _, c := range []struct{ primaries, backups, tried, want string }{
		{"uu", "u", "", "01"},
		{"fu", "u", "", "1"},
		{"ff", "u", "", "2"},
		{"ff", "f", "", "01"},
		{"ef", "f", "", "1"},
		{"ee", "f", "", "2"},
		{"ee", "e", "", ""},
		{"uu", "u", "0", "1"},
		{"uu", "u", "01", "2"},
		{"uu", "u", "012", ""},
		{"ff", "", "0", "1"},
		{"eu", "", "1", ""},
	} {
		o := Options{}
		for i, state := range c.primaries + c.backups {
			a := target.Address{Scheme: target.SchemeTCP, Host: fmt.Sprintf("10.0.0.%d:80", i+1), Backup: i >= len(c.primaries)}
			p := target.New(a, nil)
			switch state {
			case failed:
				p.DialFailed(io.EOF)
			case unhealthy:
				p.CheckedDown(io.EOF)
			case up:
			}
			o.Targets = append(o.Targets, p)
		}
		g := newTestSet(o).Streams
		got := map[byte]bool{}
		for range 20 {
			var out Tried
			for _, i := range c.tried {
				out.Add(g.All()[i-'0'])
			}
			if p := g.TryAcquire(netip.Addr{}, &out); p != nil {
				got[p.Target.Address.Host[7]-1] = true
				g.release(p)
			}
		}
		ok := len(got) == len(c.want)
		for i := range c.want {
			ok = ok && got[c.want[i]]
		}
		if !ok {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}
