package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"linesplit/internal/hostport"
)

// Bounds of the time for which an answer is valid.
const (
	minTTL = 5 * time.Second
	maxTTL = 5 * time.Minute
)

// resolver looks up names as package net does, with its search list, EDNS, and TCP after a
// truncated reply. Besides, it finds out how long the answers are valid, and whether they are
// complete.
type resolver struct {
	server string // as ParseResolver returns it; empty for the system's servers
}

// ParseResolver reads the address of a DNS server: IP, IP:PORT, or tcp://IP:PORT to ask over TCP
// alone. It returns the address as udp://IP:PORT or tcp://IP:PORT.
func ParseResolver(text string) (string, error) {
	network, place, found := strings.Cut(text, "://")
	if !found {
		network, place = "udp", text
	}
	if network != "udp" && network != "tcp" {
		return "", fmt.Errorf("unknown scheme %q: write IP:PORT, or tcp://IP:PORT to ask over TCP", network)
	}
	if ip, err := netip.ParseAddr(strings.Trim(place, "[]")); err == nil {
		return network + "://" + net.JoinHostPort(ip.String(), "53"), nil
	}
	host, port, err := hostport.Split(place)
	if err != nil {
		return "", err
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return "", fmt.Errorf("%q is no IP address, and a name would have to be looked up first", host)
	}
	if _, err := netip.ParseAddrPort(net.JoinHostPort(host, port)); err != nil {
		return "", fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	return network + "://" + net.JoinHostPort(host, port), nil
}

// through returns a resolver of package net that asks r's server, and whose messages rec records.
func (r resolver) through(rec *recorder) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if ours, server, found := strings.Cut(r.server, "://"); found {
			address = server
			if ours == "tcp" {
				network = "tcp"
			}
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return rec.watch(conn), nil
	}}
}

// name returns the error of a lookup with the server that was asked: package net names that of
// resolv.conf.
func (r resolver) name(err error) error {
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.Server != "" {
		if _, server, found := strings.Cut(r.server, "://"); found {
			e.Server = server
		}
	}
	return err
}

// reply is the result of a lookup.
type reply[T any] struct {
	found   []T
	ttl     time.Duration // how long the result is valid; 0 if that is unknown, as in /etc/hosts
	missing error         // the reason why the result may be incomplete, or nil
}

// addresses returns the IPv4 and IPv6 addresses of a host. It returns none, and no error, if the
// servers have answered that there are none.
func (r resolver) addresses(ctx context.Context, host string) (reply[netip.Addr], error) {
	rec := new(recorder)
	found, err := r.through(rec).LookupNetIP(ctx, "ip", host)
	for i, ip := range found {
		found[i] = ip.Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return judge(rec, slices.Compact(found), r.name(err))
}

// services returns the SRV records of a name, the lowest priority first.
func (r resolver) services(ctx context.Context, name string) (reply[*net.SRV], error) {
	rec := new(recorder)
	_, found, err := r.through(rec).LookupSRV(ctx, "", "", name)
	err = r.name(err)
	if len(found) > 0 && err != nil { // package net has left out records with invalid names
		a, _ := judge(rec, found, nil)
		a.missing = err
		return a, nil
	}
	return judge(rec, found, err)
}

// judge decides whether the result of a lookup by package net is an answer, an incomplete answer or
// a failure. After a failure package net goes on to the next name of the search list, which may be
// another host; and it returns the addresses of one family if the server did not answer about the
// other one.
func judge[T any](rec *recorder, found []T, err error) (reply[T], error) {
	failed, elsewhere := rec.unanswered()
	e, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case err != nil && (!isDNS || !e.IsNotFound || failed != ""):
		return reply[T]{}, err
	case err != nil:
		return reply[T]{}, nil
	case elsewhere:
		return reply[T]{}, fmt.Errorf("no answer about %s, which comes first in the search list", failed)
	case failed != "":
		return reply[T]{found: found, ttl: rec.ttl(), missing: fmt.Errorf("no answer about %s", failed)}, nil
	}
	return reply[T]{found: found, ttl: rec.ttl()}, nil
}
