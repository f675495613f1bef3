package discovery

import (
	"context"
	"time"
)

// Intervals between two lookups of a source whose answers do not say how long they are valid.
const (
	defaultRefresh = 30 * time.Second
	fileRefresh    = 10 * time.Second // a change of the file leads to a lookup before that
)

// A source lists targets.
type source interface {
	// lookup asks once. It returns soon after ctx has ended. After an error the targets stay as
	// they are.
	lookup(ctx context.Context) (Answer, error)
}

// A watcher is a source that notices changes between two lookups.
type watcher interface {
	// changed reports whether another lookup is likely to return another answer.
	changed() bool
}

// open returns the source that s names.
func (s Spec) open(o Options) source {
	switch s.scheme {
	case schemeDNS:
		return &dnsSource{s, resolver{o.Resolver}}
	case schemeSRV:
		return &srvSource{s, resolver{o.Resolver}}
	case schemeFile:
		return &fileSource{spec: s}
	case schemeExec:
		return &execSource{s}
	}
	return newHTTPSource(s)
}

// interval returns the time until the next lookup after an answer.
func (s Spec) interval(a Answer) time.Duration {
	switch {
	case s.refresh > 0:
		return s.refresh
	case a.TTL > 0:
		return min(max(a.TTL, minTTL), maxTTL)
	case s.scheme == schemeFile:
		return fileRefresh
	}
	return defaultRefresh
}
