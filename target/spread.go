package target

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"
)

// minAttempt is the least time for one of several addresses, as long as there is that much.
const minAttempt = 2 * time.Second

// openInTurn connects to a, whose host is a name, beginning with another of its addresses than
// a.Turn-1 did. Addresses of the family that the resolver prefers come first, since names often
// have one address of each family, which lead to the same host.
func openInTurn(ctx context.Context, d *net.Dialer, network string, a Address) (net.Conn, error) {
	host, port, err := net.SplitHostPort(a.Host)
	if err != nil {
		return nil, err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	all := inTurn(found, a.Turn)
	if all == nil {
		return d.DialContext(ctx, network, a.Host)
	}
	var first error
	for i, ip := range all {
		conn, err := dialOne(ctx, d, network, net.JoinHostPort(ip.String(), port), len(all)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// inTurn returns the addresses in the order in which they are tried, or nil if there is nothing to
// spread: the preferred family has one.
func inTurn(found []netip.Addr, turn uint32) []netip.Addr {
	var preferred, others []netip.Addr
	for _, ip := range found {
		ip = ip.Unmap()
		if ip.Is4() == found[0].Unmap().Is4() {
			preferred = append(preferred, ip)
		} else {
			others = append(others, ip)
		}
	}
	if len(preferred) < 2 {
		return nil
	}
	// Resolvers rotate their answers, too, which would undo the turn.
	slices.SortFunc(preferred, netip.Addr.Compare)
	at := int(turn % uint32(len(preferred)))
	return append(append(preferred[at:len(preferred):len(preferred)], preferred[:at]...), others...)
}

// dialOne gives one address its part of the time that is left.
func dialOne(ctx context.Context, d *net.Dialer, network, address string, left int) (net.Conn, error) {
	if deadline, has := ctx.Deadline(); has && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(deadline)/time.Duration(left), minAttempt))
		defer cancel()
	}
	return d.DialContext(ctx, network, address)
}
