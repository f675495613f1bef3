package service

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/target"
)

// rounds keeps the services of a process from sending to each other, directly or through others, so
// that lines and connections would go round for ever. internal/config refuses rounds that it can
// tell without a look-up. Those that sources, host names or the API close are found here, when a
// service connects. The service whose connection would close a round is refused; the others go on.
//
// It notes the connections of services to services, and forgets them with the targets that they
// belong to. The zero value has no services. Its methods are safe for concurrent use.
type rounds struct {
	// at has the open services by the ports of their listeners; Unix sockets have the port 0.
	at atomic.Pointer[map[uint16][]*service]

	mu sync.Mutex // guards the fields below
	// ways has where each open service has connected to others, and when it last began to.
	ways map[*service]map[way]time.Time
}

const (
	// settleWays is the time after a connection was begun for which it counts even though origins
	// do not have its target yet.
	settleWays = 5 * time.Second
	// maxWays is the number of ways of one service above which those of former targets are
	// forgotten.
	maxWays = 1000
)

// way is where a service connects, as in target.Options.MayConnect.
type way struct{ network, address string }

// add adds a service whose listeners are open.
func (r *rounds) add(s *service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ways == nil {
		r.ways = map[*service]map[way]time.Time{}
	}
	r.ways[s] = map[way]time.Time{}
	r.arrangeLocked()
}

// remove removes a service, if it is there.
func (r *rounds) remove(s *service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ways, s)
	r.arrangeLocked()
}

// arrangeLocked makes at anew.
func (r *rounds) arrangeLocked() {
	at := map[uint16][]*service{}
	for s := range r.ways {
		for _, port := range s.own.ports() {
			at[port] = append(at[port], s)
		}
	}
	r.at.Store(&at)
}

// mayConnect returns an error if a connection of from to an address would close a round.
func (r *rounds) mayConnect(from *service, network, address string) error {
	at := r.at.Load()
	if at == nil {
		return nil
	}
	w := way{network, address}
	near := (*at)[w.port()]
	if len(near) == 0 || len(near) == 1 && near[0] == from { // as with nearly all targets
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	receivers := r.receivers(w)
	if len(receivers) == 0 || r.ways[from] == nil {
		return nil
	}
	if len(receivers) == 1 {
		if path := r.pathLocked(receivers[0], from, map[*service]bool{}); path != nil {
			return fmt.Errorf("service %s of this linesplit listens there, and lines would go round for ever: %s to %s",
				receivers[0].name, from.name, strings.Join(path, " to "))
		}
	}
	ways := r.ways[from]
	ways[w] = time.Now()
	if len(ways) > maxWays {
		maps.DeleteFunc(ways, func(w way, at time.Time) bool { return !from.leadsOn(w, at) })
	}
	return nil
}

// receivers returns the services that get what is sent on a way. There are several where they share
// a TLS port, and while a reload replaces one: only the receiver of a single one is certain.
func (r *rounds) receivers(w way) (all []*service) {
	for _, s := range (*r.at.Load())[w.port()] {
		if !s.left.Load() && !s.over.Load() && s.own.mayConnect(w.network, w.address) != nil {
			all = append(all, s)
		}
	}
	return all
}

// pathLocked returns the names of the services from one that leads to another, both included, or
// nil if it does not lead there.
func (r *rounds) pathLocked(from, to *service, seen map[*service]bool) []string {
	if from == to {
		return []string{to.name}
	}
	seen[from] = true
	for w, at := range r.ways[from] {
		next := r.receivers(w)
		if len(next) != 1 || seen[next[0]] || !from.leadsOn(w, at) {
			continue
		}
		if path := r.pathLocked(next[0], to, seen); path != nil {
			return slices.Insert(path, 0, from.name)
		}
	}
	return nil
}

// port returns the port of the address, or 0 for a Unix socket.
func (w way) port() uint16 {
	if at, err := netip.ParseAddrPort(w.address); err == nil {
		return at.Port()
	}
	return 0
}

// leadsOn reports whether s still uses a way, on which it last began to connect at the given time.
func (s *service) leadsOn(w way, at time.Time) bool {
	return time.Since(at) < settleWays || s.finder.origins.Load().leadOn(w)
}

// leadOn reports whether one of the targets leads on a way, or may do so: a host name may have any
// address, and the kernel takes an unspecified one for loopback.
func (o *origins) leadOn(w way) bool {
	to, err := netip.ParseAddrPort(w.address)
	return slices.ContainsFunc(o.targets, func(a target.Address) bool {
		if a.Scheme == target.SchemeUnix || err != nil {
			return a.Host == w.address
		}
		at, err := netip.ParseAddrPort(a.Host)
		if err == nil && !at.Addr().IsUnspecified() {
			return plain(at) == plain(to)
		}
		return strings.HasSuffix(a.Host, fmt.Sprint(":", to.Port()))
	})
}
