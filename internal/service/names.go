package service

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"linesplit/internal/accept"
	"linesplit/target"
)

const (
	// Host names of targets are looked up once in nameInterval, to see whether they have several
	// addresses.
	nameInterval = time.Minute
	nameTimeout  = 10 * time.Second
)

// nameWatch notices targets whose host name has several addresses. Connections go to one of them
// each, so that linesplit neither knows nor balances them.
type nameWatch struct {
	lookup func(ctx context.Context, network, host string) ([]net.IP, error)
	log    *slog.Logger
	seen   map[string]int // how many addresses a name had, by host
}

// watchNames looks at the names until stop is called.
func (s *service) watchNames(soft context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(soft)
	w := nameWatch{net.DefaultResolver.LookupIP, s.logger, map[string]int{}}
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			w.look(ctx, s.mode.targets())
			accept.Pause(ctx, nameInterval)
		}
	})
	return func() { cancel(); watching.Wait() }
}

// look looks up the names of targets, and logs where there are several addresses, and again when
// their number has changed. A failed look-up changes nothing: a dial will tell.
func (w *nameWatch) look(ctx context.Context, targets []*target.Target) {
	seen := make(map[string]int, len(w.seen))
	for _, t := range targets {
		host, _, err := net.SplitHostPort(t.Address.Host)
		if err != nil || !t.Address.Names() {
			continue
		}
		n, was := w.count(ctx, host), w.seen[host]
		if n == 0 {
			n = was
		}
		if _, logged := seen[host]; n != was && n > 1 && !logged {
			w.log.Info("the target's name has several addresses, and each connection goes to one of them; "+
				"dns:// makes each a target", "target", t.String(), "addresses", n, "write", "dns://"+t.Address.Host)
		}
		seen[host] = n
	}
	w.seen = seen
}

// count returns how many addresses of the preferred family a name has, or 0 if that is not known. A
// name often has one of each family, which lead to the same host.
func (w *nameWatch) count(ctx context.Context, host string) int {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	found, err := w.lookup(ctx, "ip", host)
	if err != nil {
		return 0
	}
	var v4, v6 int
	for _, ip := range found {
		if ip.To4() != nil {
			v4++
		} else {
			v6++
		}
	}
	return max(v4, v6)
}
