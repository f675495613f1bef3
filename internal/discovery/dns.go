package discovery

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// maxLookups is the number of hosts of SRV records to look up at one time.
const maxLookups = 8

// dnsSource looks up a name, each address of which is a target.
type dnsSource struct {
	spec Spec
	resolver
}

func (s *dnsSource) lookup(ctx context.Context) (Answer, error) {
	host, port, err := net.SplitHostPort(s.spec.place)
	if err != nil {
		return Answer{}, err
	}
	found, err := s.addresses(ctx, host)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Missing: found.missing, TTL: found.ttl}
	if err := s.spec.addAll(&a, found.found, host, port, 0); err != nil {
		return Answer{}, err
	}
	return a.orMissing()
}

// orMissing returns a, or Missing as an error if a has no targets.
func (a Answer) orMissing() (Answer, error) {
	if len(a.Targets) == 0 && a.Missing != nil {
		return Answer{}, a.Missing
	}
	return a, nil
}

// addAll adds the addresses of a host to a, as targets at port. A weight above 0 takes the place of
// that in the options.
func (s Spec) addAll(a *Answer, found []netip.Addr, host, port string, weight int) error {
	if len(a.Targets)+len(found) > maxTargets {
		return fmt.Errorf("leads to more than %d targets", maxTargets)
	}
	for _, ip := range found {
		t, err := s.target(ip.String(), port)
		if err != nil {
			a.Missing = fmt.Errorf("no target: %w", err)
			continue
		}
		t.HostName = strings.TrimSuffix(host, ".")
		if weight > 0 {
			t.Weight = weight
		}
		a.Targets = append(a.Targets, t)
	}
	return nil
}

// srvSource looks up the SRV records of a name, and then the hosts in the records of the lowest
// priority. Each address of these is a target, at the port and with the weight of its record.
type srvSource struct {
	spec Spec
	resolver
}

func (s *srvSource) lookup(ctx context.Context) (Answer, error) {
	records, err := s.services(ctx, s.spec.place)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Missing: records.missing, TTL: records.ttl}
	first := lowestPriority(records.found)
	if len(first) > maxTargets {
		return Answer{}, fmt.Errorf("has %d records, and %d are the most", len(first), maxTargets)
	}
	for i, h := range s.hosts(ctx, first) {
		if h.ttl > 0 && (a.TTL == 0 || h.ttl < a.TTL) {
			a.TTL = h.ttl
		}
		if h.missing != nil {
			a.Missing = h.missing
		}
		r := first[i]
		if err := s.spec.addAll(&a, h.found, r.Target, strconv.Itoa(int(r.Port)), max(1, int(r.Weight))); err != nil {
			return Answer{}, err
		}
	}
	return a.orMissing()
}

// hosts looks up the hosts of records. The answer about a host without an address is incomplete,
// since there is a record for the host.
func (s *srvSource) hosts(ctx context.Context, records []*net.SRV) []reply[netip.Addr] {
	all := make([]reply[netip.Addr], len(records))
	places := make(chan struct{}, maxLookups)
	var looking sync.WaitGroup
	for i, r := range records {
		places <- struct{}{}
		looking.Go(func() {
			defer func() { <-places }()
			found, err := s.addresses(ctx, r.Target)
			switch {
			case err != nil:
				found.missing = fmt.Errorf("the host of a record: %w", err)
			case len(found.found) == 0:
				found.missing = fmt.Errorf("the host of a record: no address of %s", r.Target)
			}
			all[i] = found
		})
	}
	looking.Wait()
	return all
}

// lowestPriority returns the records of the lowest priority, which come first. It leaves out a
// record whose target is the root: that says that there is no such service (RFC 2782).
func lowestPriority(records []*net.SRV) (first []*net.SRV) {
	for _, r := range records {
		if r.Priority == records[0].Priority && r.Target != "." {
			first = append(first, r)
		}
	}
	return first
}
