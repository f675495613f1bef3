package delivery

import (
	"math"
	"testing"
	"time"

	"linesplit/target"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestConfirmable(t *testing.T) {
	const age = 10 * time.Second
	for name, c := range map[string]struct {
		seen target.Progress
		past uint64 // acknowledged for longer than age
		want uint64
	}{
		"nothing is old":                 {target.Progress{Written: 100, Acked: 90, Read: 20}, 0, 20},
		"old and nothing unread":         {target.Progress{Written: 100, Acked: 90, Read: 20}, 60, 60},
		"old, but something is unread":   {target.Progress{Written: 100, Acked: 90, Read: 20, Unread: 1}, 60, 20},
		"old and at rest":                {target.Progress{Written: 100, Acked: 90, Read: 20, Unread: 1, WindowRecovered: true}, 60, 60},
		"old, but the window rose":       {target.Progress{Written: 100, Acked: 90, Read: 20, Rising: true}, 60, 20},
		"read is ahead of the age":       {target.Progress{Written: 100, Acked: 90, Read: 80}, 60, 80},
		"too fresh to trust":             {target.Progress{Written: 100, Acked: 90, Read: 80, Hidden: math.MaxUint64}, 60, 60},
		"fresh, and something is unread": {target.Progress{Written: 100, Acked: 90, Read: 80, Unread: 5, Hidden: math.MaxUint64}, 60, 55},
		"little can hide":                {target.Progress{Written: 100, Acked: 90, Read: 80, Hidden: 15}, 60, 75},
		"the same, and unread":           {target.Progress{Written: 100, Acked: 90, Read: 80, Unread: 5, Hidden: 15}, 60, 70},
		"fresh, but exact":               {target.Progress{Written: 100, Acked: 90, Read: 80}, 60, 80},
		"anything can hide":              {target.Progress{Written: 100, Acked: 90, Read: 80, Hidden: math.MaxUint64}, 0, 0},
		"exact, and something is unread": {target.Progress{Written: 100, Acked: 90, Read: 80, Known: 80, Exact: true, Unread: 10}, 0, 80},
		"exact, and everything is read":  {target.Progress{Written: 100, Acked: 90, Read: 90, Known: 90, Exact: true}, 0, 90},
		"no counts":                      {target.Progress{Written: 100, NoCounts: true}, 60, 60},
	} {
		t.Run(name, func(t *testing.T) {
			out := outConn{seen: c.seen}
			out.ageHistory.note(epoch, c.past, age)
			if got := out.confirmable(epoch.Add(age), age); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

func TestFull(t *testing.T) {
	const limit = 4 << 20
	still := target.Progress{Written: 1000, Acked: 1000, Unread: 500, WindowStable: true}
	for name, c := range map[string]struct {
		seen target.Progress
		mem  int64
		want bool
	}{
		"empty":                                {},
		"at the limit":                         {target.Progress{Written: 1000, Acked: 100, Unread: 100}, limit, false},
		"above":                                {target.Progress{Written: 1000, Acked: 1000}, limit + 1, true},
		"above, with a stable window: a probe": {still, limit + 1, false},
		"above, with data on its way":          {target.Progress{Written: 1000, Acked: 999, WindowStable: true}, limit + 1, true},
		"probed up to twice the limit":         {still, 2 * limit, true},
	} {
		t.Run(name, func(t *testing.T) {
			out := outConn{seen: c.seen, next: 1000, window: window{mem: c.mem}}
			if got := out.full(limit); got != c.want {
				t.Errorf("full: %v", got)
			}
			out.seen.WindowStable = false
			if got := out.full(limit); got != c.want {
				t.Errorf("full during the probe: %v", got)
			}
			out.next += limit / 4
			if got := out.full(limit); got != (c.mem > limit) {
				t.Errorf("full after the probe: %v", got)
			}
		})
	}
}

func TestMayHalfClose(t *testing.T) {
	for name, c := range map[string]struct {
		f     outConn
		after time.Duration
		want  bool
	}{
		"no FIN":                    {outConn{seen: target.Progress{Unread: 5}, next: 10}, 0, true},
		"already done":              {outConn{halfClosed: true}, time.Hour, false},
		"FIN, all read":             {outConn{seen: target.Progress{FIN: true, Acked: 10}, next: 10}, 0, true},
		"FIN, something is unread":  {outConn{seen: target.Progress{FIN: true, Acked: 10, Unread: 1}, next: 10}, MaxFINWait - 1, false},
		"FIN, not all arrived":      {outConn{seen: target.Progress{FIN: true, Acked: 9}, next: 10}, MaxFINWait - 1, false},
		"MaxFINWait has passed":     {outConn{seen: target.Progress{FIN: true, Acked: 9, Unread: 1}, next: 10}, MaxFINWait, true},
		"exact, one byte is unread": {outConn{seen: target.Progress{Exact: true, Acked: 10, Unread: 1}, next: 10}, time.Hour, false},
		"exact, not all arrived":    {outConn{seen: target.Progress{Exact: true, Acked: 9}, next: 10}, time.Hour, false},
		"exact, all read":           {outConn{seen: target.Progress{Exact: true, Acked: 10}, next: 10}, 0, true},
		"exact, FIN, MaxFINWait":    {outConn{seen: target.Progress{Exact: true, FIN: true, Acked: 10, Unread: 1}, next: 10}, MaxFINWait, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.f.backend = NewBackend(target.Address{}, nil)
			c.f.markEnding(epoch)
			c.f.markEnding(epoch.Add(time.Hour)) // only the first call counts
			if got := c.f.mayHalfClose(epoch.Add(c.after)); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}
