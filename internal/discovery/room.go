package discovery

import (
	"time"
)

// MaxListed is the most targets that one source may have at a time, with those that it no longer
// lists and that have not gone yet. It is twice what one answer may list.
const MaxListed = 2 * maxTargets

// missDown notes that an incomplete answer lacks targets that are down, or not running, so that
// they go. Otherwise the former targets of a source that never answers completely would add up for
// ever.
func (l *listing) missDown(a Answer, now time.Time, running []Running) {
	stays := make(map[string]bool, len(a.Targets))
	for _, t := range a.Targets {
		stays[t.Key()] = true
	}
	for _, r := range running {
		if !r.Down {
			stays[r.Address.Key()] = true
		}
	}
	for key, t := range l.targets {
		if !stays[key] && !t.banned && t.missing == 0 {
			t.missing, t.since = 1, now
		}
	}
}
