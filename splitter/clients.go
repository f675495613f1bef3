package splitter

import (
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"

	"linesplit/internal/accept"
	"linesplit/internal/clientlimit"
	"linesplit/internal/loglimit"
)

// clients holds the limits of one address. Senders over a limit are reset: unlike those over
// Tuning.MaxConnections they cannot wait in the backlog, where others wait behind them.
type clients struct {
	byAddr  clientlimit.Clients
	refused [len(refusalNames)]refusal
}

type refusal struct {
	n   atomic.Uint64
	log loglimit.Limiter
}

// refusalNames are the reasons for a refusal, the same as in connection mode.
var refusalNames = [...]string{clientlimit.TooMany - 1: "client-limit", clientlimit.TooFast - 1: "rate"}

// Refused counts senders that were refused, for one reason: "client-limit" for
// clientlimit.Limits.Connections, "rate" for its Rate.
type Refused struct {
	Reason string
	N      uint64
}

// admit reports whether nc is within the limits of its address. If not, nc is reset and counted.
func (v *serving) admit(nc net.Conn) bool {
	client := clientOf(nc)
	verdict := v.clients.byAddr.Admit(client, v.tuned().PerClient)
	if verdict == clientlimit.Admitted {
		return true
	}
	v.refuse(nc, verdict, v.ln)
	return false
}

// refuse resets and counts a sender that is over a limit of its address.
func (s *Splitter) refuse(nc net.Conn, verdict clientlimit.Verdict, ln net.Listener) {
	reset(nc)
	r := &s.clients.refused[verdict-1]
	r.n.Add(1)
	r.log.Warn(s.o.Logger, "sender refused", slog.String("reason", refusalNames[verdict-1]),
		slog.Any("peer", clientOf(nc)), slog.String("listener", accept.Name(ln)))
}

// clientOf returns the IP address of a sender over TCP; others have none.
func clientOf(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// reset closes nc so that the sender learns at once that what it has sent is lost.
func reset(nc net.Conn) {
	raw := below(nc)
	if t, ok := raw.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
	raw.Close()
}

// below returns the connection below the TLS and all other wrappers of nc.
func below(nc net.Conn) net.Conn {
	for {
		w, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = w.NetConn()
	}
}
