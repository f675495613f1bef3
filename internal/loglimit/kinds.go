package loglimit

import (
	"maps"
	"slices"
	"sync"
)

// Kinds has a Limiter for each kind of an event, so that many of one kind do not hide another. Its
// callers have few kinds; peers cannot make up further ones. The zero value is ready for use; the
// methods are safe for concurrent use.
type Kinds struct {
	Burst int // of each Limiter; set before the first call

	mu sync.Mutex // guards the field below
	by map[string]*Limiter
}

// Of returns the Limiter of a kind.
func (k *Kinds) Of(kind string) *Limiter {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.by[kind]
	if l == nil {
		if k.by == nil {
			k.by = make(map[string]*Limiter)
		}
		l = &Limiter{Burst: k.Burst}
		k.by[kind] = l
	}
	return l
}

// Flush logs what is held back of any kind.
func (k *Kinds) Flush() {
	k.mu.Lock()
	all := slices.Collect(maps.Values(k.by))
	k.mu.Unlock()
	for _, l := range all {
		l.Flush()
	}
}
