// Package relay carries whole connections between clients and targets, byte for byte both ways.
//
//	listener ─▶ accept ─▶ one goroutine that admits, shakes hands, and connects ─▶ two that carry, one a direction
//	                       (limits)  (TLS)           (group: balancer, queue)
//
// A connection is one conn. Its client and its target are sides; its two directions are flows. What a target has of connections
// and bytes is kept in its place, and places of one kind, streams or datagrams, form a group, which knows who is next.
//
// What serves datagrams (udp.go) uses of the rest:
//
//	r.o, r.tuned()                     the options that never change, and those that do, defaults filled in
//	r.datagrams                        the group of the targets with SchemeUDP; may be empty
//	r.admit(addr) end                  counts one more client, or says why not (then it is counted as refused, and nothing is to be undone)
//	r.dismiss(addr)                    undoes admit at the client's end
//	g.tryAcquire(addr, tried) *place   a place's next connection, never waiting; nil if there is none to be had; *tried (nil at first) is left out
//	r.release(p)                       gives it back
//	r.dial(ctx, p, header, most)       dials once within most, and tells target and metrics how it went; tried.add(p) is up to the caller
//	p.t, p.bytesIn, p.bytesOut         bytesIn is what went to the target
//	proxyHeader(version, from, to)     what p.t.Address.ProxyProtocol asks for; nil for 0
//	r.refuse(why)                      counts a refusal that admit did not count
//	r.unreachable(true or false)       logs once when no target can be reached, and once when one can again
//	r.record(Record)                   writes to the access log, if there is one
//	r.counters.cutOff, .accepted       what has been cut off; admit has counted accepted
//	r.enter(v), r.leave(v)             so that v, a service, is told of changes
package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/loglimit"
	"linesplit/relay/internal/splice"
	"linesplit/target"
)

// Options are the settings of a Relay. Zero values mean the default that each field names. What may change later is in Tuning.
type Options struct {
	// Targets in the order of the configuration, each name once. Those with target.SchemeUDP get datagrams, the others connections.
	Targets []*target.Target
	// Balance is a name that ParseBalance knows: round-robin.
	Balance string
	// DialOptions say how to dial. Their Timeout bounds one attempt, and DialBudget bounds it too.
	DialOptions target.Options
	// DialBudget is for how long a client's targets are tried, one after the other: 5 s.
	DialBudget time.Duration
	// LingerTimeout is for how long nothing may come from one side after the other has ended: 1 min.
	LingerTimeout time.Duration
	// IdleTimeout is for how long nothing may come from either side: 0 is for ever. It may take an eighth more until it is noticed.
	IdleTimeout time.Duration
	// QueueTimeout is how long a client waits where all targets are full: 5 s.
	QueueTimeout time.Duration
	// Drain is how long connections may go on after the soft end. 0 resets them at once.
	Drain time.Duration
	// MaxConnections is how many clients there may be at once, and MaxConnectionsPerClient how many of them from one IP address: 0
	// for any number.
	MaxConnections, MaxConnectionsPerClient int
	// RatePerClient is how many connections per second one IP address may make, on average; a second's worth at once. 0 for any number.
	RatePerClient float64
	// ResetOnDown resets the connections of a target that goes down. Without it they are left alone.
	ResetOnDown bool
	// AccessLog gets one record for each connection at its end. nil for none.
	AccessLog AccessLog
	// ConnectSeconds gets the duration of each successful dial, TLS handshake included. nil for none.
	ConnectSeconds interface{ Observe(seconds float64) }
	// UDPIdleTimeout is after how long without datagrams a session ends: 30 s.
	UDPIdleTimeout time.Duration
	// UDPSessions is how many sessions there may be at once: 4096.
	UDPSessions int
	// Logger gets changes of state, and repeated failures in sum. nil discards.
	Logger *slog.Logger
}

// fixed is what of the Options never changes; see Options.
type fixed struct {
	AccessLog      AccessLog
	ConnectSeconds interface{ Observe(seconds float64) }
	Logger         *slog.Logger
}

func (o Options) fixed() fixed {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return fixed{o.AccessLog, o.ConnectSeconds, o.Logger}
}

// Relay carries connections from any number of listeners to its targets. All its methods are safe for concurrent use.
type Relay struct {
	o                  fixed
	tuning             atomic.Pointer[Tuning] // see tuned
	streams, datagrams *group
	clients            clients
	carrier            *splice.Carrier // buffers, and pipes where there are any
	counters           counters
	ids                atomic.Uint64 // of connections

	acceptFailed, handshakesFailed, dialsFailed loglimit.Limiter

	mu       sync.Mutex // guards what follows, and is held where targets change
	places   []*place   // of both groups, in the order of the configuration, those added later behind
	balance  string
	removed  RemovedStats
	services []service // those that run
}

// New returns a Relay that forwards to o.Targets. It starts nothing yet. A Balance that ParseBalance does not know is round-robin.
func New(o Options) *Relay {
	name, err := ParseBalance(o.Balance)
	if err != nil {
		name = RoundRobin
	}
	r := &Relay{o: o.fixed(), balance: name, carrier: splice.NewCarrier()}
	r.streams, r.datagrams = newGroup(r), newGroup(r)
	for _, t := range o.Targets {
		r.placeInLocked(newPlace(t)) // nobody else knows r yet
	}
	r.clients.init()
	r.Tune(o.Tuning())
	return r
}

// unreachable is the datagrams' group's.
func (r *Relay) unreachable(now bool) { r.datagrams.unreachable(now) }

// hurried is the time that a target has at least to answer before it may be blamed for not doing so.
const hurried = time.Second

// dial connects once to p, within most, and tells everybody how it went. The caller closes the connection. A dial that was called
// off says nothing about the target.
func (r *Relay) dial(ctx context.Context, p *place, header []byte, most time.Duration) (net.Conn, error) {
	set := r.tuned()
	o := &set.DialOptions
	if o.Timeout <= 0 || most < o.Timeout {
		shorter := *o
		shorter.Timeout = most
		o = &shorter
	}
	start := time.Now()
	nc, err := target.Dial(ctx, p.t.Address, o, header)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, err
	case target.IsLocalError(err):
		r.dialsFailed.Warn(r.o.Logger, "cannot dial for want of resources", slog.Any("err", err))
		return nil, err
	case o.Timeout == most && most < min(hurried, set.DialBudget/4) && timedOut(err):
		return nil, err
	default:
		p.t.DialFailed(err)
		return nil, err
	}
	took := time.Since(start)
	p.t.DialSucceeded()
	p.total.Add(1)
	p.connect.Store(int64(took))
	r.groupOf(p).unreachable(false)
	if r.o.ConnectSeconds != nil {
		r.o.ConnectSeconds.Observe(took.Seconds())
	}
	return nc, nil
}

func (r *Relay) groupOf(p *place) *group { return r.groupFor(p.t) }

func (r *Relay) groupFor(t *target.Target) *group {
	if t.Address.Scheme == target.SchemeUDP {
		return r.datagrams
	}
	return r.streams
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
