package relay

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/loop"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// serving is one call of Serve.
type serving struct {
	*Relay
	cut      context.Context // ends when all connections must end
	cutOff   context.CancelFunc
	ln       net.Listener
	running  sync.WaitGroup // the goroutines of all conns, and the links
	arrivals chan *conn     // new conns, taken by idle goroutines that prepare
	idle     atomic.Int64   // number of these goroutines, or a few more
	changed  chan struct{}  // tells maintain that settings or targets have changed; buffers one

	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu

	loops *loop.Group // event loops for plain connections; nil: goroutines carry these, too
	links []links     // the connections on loops, by the index of the loop
}

// Serve accepts clients from ln and carries their connections until soft ends. Then it drains: it
// accepts the clients that wait in the backlog, closes ln, and lets connections go on until they
// end. It resets those that last longer than Tuning.Drain. When hard ends, it resets all at once.
//
// Serve returns only when everything it started has ended, with ln closed. The error is nil unless
// ln was closed outside Serve. Serve retries after any other error of Accept. Several calls may run
// at the same time, one per listener.
//
// The connections of ln may be wrappers that NetConn methods unwrap to a *net.TCPConn or a
// *net.UnixConn. Bytes then go from socket to socket past the wrappers, unless one is a *tls.Conn.
// With that, Serve does the handshake first. The addresses are those of the outermost wrapper. A
// connection below a *tls.Conn may have a method Ended() bool that reports whether the stream
// itself has ended. Serve then recognises an end that TLS did not announce, and passes it on as a
// reset.
//
// If ln has a Detach method, as the listeners of package listen do, an event loop accepts.
func (r *Relay) Serve(soft, hard context.Context, ln net.Listener) error {
	v := &serving{
		Relay:    r,
		ln:       ln,
		conns:    make(map[*conn]struct{}),
		arrivals: make(chan *conn),
		changed:  make(chan struct{}, 1),
	}
	v.cut, v.cutOff = context.WithCancel(hard)
	defer v.cutOff()
	defer r.clients.Listen()()
	v.loops = r.shared.Enter(r.wantLoops, r.logger)
	defer r.shared.Leave()
	v.links = v.makeLinks()
	r.register(v)
	defer r.unregister(v)

	var maintaining sync.WaitGroup
	ctx, endMaintaining := context.WithCancel(context.Background())
	maintaining.Go(func() { v.maintain(ctx) })
	err := v.serve(soft)
	endMaintaining()
	maintaining.Wait()
	return err
}

// serve accepts and drains, on a loop or in a goroutine.
func (v *serving) serve(soft context.Context) error {
	onLoops, err := v.acceptOnLoops()
	if err != nil {
		v.ln.Close()
		return err
	}
	if onLoops != nil {
		onLoops.serve(soft)
		return nil
	}
	server := accept.Server{
		Listener: v.ln,
		Start:    v.start,
		Failed:   v.failed,
		Wait:     v.wait,
		Drain:    func() time.Duration { return v.tuned().Drain },
		CutOff:   v.cutOff,
		Abort:    v.abortAll,
	}
	return server.Serve(soft, v.cut) // cutOff ends v.cut and so causes Abort
}

// serverName returns the name that a client has asked for, if the listener knows it: where TLS is
// passed through, that of its ServerName method.
func serverName(nc net.Conn) string {
	if n, ok := nc.(interface{ ServerName() string }); ok {
		return n.ServerName()
	}
	return ""
}

// record returns the record of a connection that ends now, without its target.
func (v *serving) record(from net.Addr, start time.Time, dials int, why traffic.End) Record {
	return Record{
		Start:    start,
		Client:   from.String(),
		Listener: accept.Name(v.ln),
		Duration: time.Since(start),
		Dials:    dials,
		End:      why.String(),
	}
}

// wait waits until all connections have ended. It is called when no more can start.
func (v *serving) wait() {
	close(v.arrivals)
	v.running.Wait()
}

func (v *serving) failed(err error) {
	v.clients.AcceptErrors.Add(1)
	v.acceptFailed.Warn(v.logger, "accept failed, trying again",
		slog.String("listener", accept.Name(v.ln)), slog.Any("err", err))
}

// maxIdle is the maximum number of idle goroutines kept for preparing connections. Dialling makes a
// stack grow, and reusing a grown stack saves time.
const maxIdle = 32

// start serves nc on a loop or in other goroutines.
func (v *serving) start(nc net.Conn) {
	c := newConn(v, nc)
	if v.startOnLoop(c) {
		return
	}
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

// prepare prepares c and then further conns, until too many goroutines are idle.
func (v *serving) prepare(c *conn) {
	defer v.running.Done()
	for ok := true; ok; {
		c.prepare()
		if v.idle.Add(1) > maxIdle {
			v.idle.Add(-1)
			return
		}
		c = nil // do not keep it alive while idle
		c, ok = <-v.arrivals
		v.idle.Add(-1)
	}
}

func (v *serving) add(c *conn) {
	v.mu.Lock()
	v.conns[c] = struct{}{}
	v.mu.Unlock()
	if v.cut.Err() != nil { // abortAll may have run before c was added
		c.abort(traffic.EndShutdown)
	}
}

func (v *serving) remove(c *conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
}

// Wake makes maintain obey changed settings and targets.
func (v *serving) Wake() {
	select {
	case v.changed <- struct{}{}:
	default:
	}
}

// Expel resets the connections to b.
func (v *serving) Expel(b *upstream.Backend) {
	v.abortAt(b, traffic.EndTargetRemoved)
}

// abortAt ends the connections to b, which is out of use.
func (v *serving) abortAt(b *upstream.Backend, why traffic.End) {
	v.each(func(c *conn) { c.abortAt(b, why) })
	v.eachLink(func(k *link) { k.abortAt(b, why) })
}

// each calls f for each connection that goroutines carry. f must not block.
func (v *serving) each(f func(*conn)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		f(c)
	}
}

// abortAll resets all connections.
func (v *serving) abortAll() {
	v.each(func(c *conn) { c.abort(traffic.EndShutdown) })
	v.eachLink(func(k *link) { k.abort(traffic.EndShutdown) })
}
