package relay

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// serving is one call of Serve.
type serving struct {
	*Relay
	cut      context.Context // ends when connections are to be cut off
	cutOff   context.CancelFunc
	ln       net.Listener
	running  sync.WaitGroup // the goroutines of all conns
	arrivals chan *conn     // to those preparers that have nothing to do
	news     chan struct{}  // to keepHouse: settings or targets have changed; holds one
	resting  atomic.Int64   // how many these are, at least

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// Serve accepts clients from ln and carries their connections until soft ends. Then it drains: it accepts those that wait in the
// backlog, closes ln, and lets connections go on until they end or Options.Drain has passed, when it resets them. When hard ends, it
// resets everything at once.
//
// It returns only when all that it started has ended, with ln closed. The error is nil unless ln was closed by somebody else. Any other
// error of Accept is retried. Several calls may run at the same time, one per listener.
//
// What ln returns may be anything that unwraps, by NetConn methods, to a *net.TCPConn or a *net.UnixConn: bytes then go from socket to
// socket without passing through the wrappers, unless there is a *tls.Conn among them, which Serve shakes hands with first. The
// addresses are the outermost one's. A connection below a *tls.Conn that has a method Ended() bool tells by it that the stream itself
// has ended: then an end that TLS did not announce is known for what it is, and passed on as a reset.
func (r *Relay) Serve(soft, hard context.Context, ln net.Listener) error {
	v := &serving{Relay: r, ln: ln, conns: make(map[*conn]struct{}), arrivals: make(chan *conn), news: make(chan struct{}, 1)}
	v.cut, v.cutOff = context.WithCancel(hard)
	defer v.cutOff()
	r.enter(v)
	defer r.leave(v)

	var keeping sync.WaitGroup
	kept, endKeeping := context.WithCancel(context.Background())
	keeping.Go(func() { v.keepHouse(kept) })
	server := accept.Server{
		Listener: ln,
		Start:    v.start,
		Failed:   v.failed,
		Wait:     v.wait,
		Drain:    func() time.Duration { return v.tuned().Drain },
		CutOff:   v.cutOff,
		Abort:    v.abortAll,
	}
	err := server.Serve(soft, v.cut) // cutOff ends v.cut, and so aborts
	endKeeping()
	keeping.Wait()
	return err
}

// wait waits for the goroutines of all conns. No more conns come.
func (v *serving) wait() {
	close(v.arrivals)
	v.running.Wait()
}

func (v *serving) failed(err error) {
	v.clients.AcceptErrors.Add(1)
	v.acceptFailed.Warn(v.logger, "accept failed, trying again",
		slog.String("listener", accept.Name(v.ln)), slog.Any("err", err))
}

// mostResting is how many preparers are kept. Dialling makes a stack grow, and one that has grown is worth keeping.
const mostResting = 32

// start has nc served by other goroutines.
func (v *serving) start(nc net.Conn) {
	c := newConn(v, nc)
	if why := v.clients.Admit(c.addr); why != traffic.NotEnded {
		c.client.Reset()
		c.report(why)
		return
	}
	v.add(c)
	select {
	case v.arrivals <- c:
	default:
		v.running.Add(1)
		go v.prepare(c)
	}
}

// prepare prepares c, and then others, until too many do.
func (v *serving) prepare(c *conn) {
	defer v.running.Done()
	for ok := true; ok; {
		c.prepare()
		if v.resting.Add(1) > mostResting {
			v.resting.Add(-1)
			return
		}
		c = nil // it may be over before another comes
		c, ok = <-v.arrivals
		v.resting.Add(-1)
	}
}

func (v *serving) add(c *conn) {
	v.mu.Lock()
	v.conns[c] = struct{}{}
	v.mu.Unlock()
	if v.cut.Err() != nil { // abortAll may have been there before c was
		c.abort(traffic.EndShutdown)
	}
}

func (v *serving) remove(c *conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
}

// Wake has the house kept by what holds now.
func (v *serving) Wake() {
	select {
	case v.news <- struct{}{}:
	default:
	}
}

// Expel resets the connections at p.
func (v *serving) Expel(p *upstream.Backend) {
	v.each(func(c *conn) { c.abortAt(p, traffic.EndTargetRemoved) })
}

// each calls f, which must not wait for anything, for each connection.
func (v *serving) each(f func(*conn)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		f(c)
	}
}

// abortAll resets everything.
func (v *serving) abortAll() { v.each(func(c *conn) { c.abort(traffic.EndShutdown) }) }
