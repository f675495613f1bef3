package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/clienthello"
	"linesplit/internal/loglimit"
)

const (
	// MaxPendingHellos is the maximum number of accepted connections whose ClientHello a Router may
	// await at one time.
	MaxPendingHellos = 1024
	// MaxRouted is the maximum number of connections that may wait for Accept of one Routed.
	MaxRouted = 128

	// helloTimeout limits the time for a ClientHello, as long as a whole handshake may take.
	helloTimeout = 10 * time.Second
)

// Router shares a listener between services. It looks at the ClientHello of each client, leaves it
// in the stream, and hands the connection to the service that wants it:
//
//	accept ─▶ one goroutine per ClientHello (bounded) ─▶ queue of a Routed (bounded) ─▶ its Accept
//
// Its methods are safe for concurrent use.
type Router struct {
	ln     net.Listener
	guard  *Guard // of ln; nil: unknown
	logger *slog.Logger
	limit  time.Duration // for a ClientHello

	closing context.Context // ends with the last Routed
	close   context.CancelFunc
	places  *places        // of connections whose ClientHello is awaited
	running sync.WaitGroup // accepting, and a goroutine for each of them

	accepting passing // is closed when nothing is accepted any more
	routes    atomic.Pointer[routes]

	mu     sync.Mutex // guards the fields below
	open   []*Routed
	begun  bool
	closed bool

	counts    routerCounts
	refusals  loglimit.Kinds
	acceptLog loglimit.Limiter
}

// NewRouter returns a Router for the connections of a listener of plain TCP, which it closes with
// its last Routed. Nothing is accepted before Start. A nil logger discards.
func NewRouter(ln net.Listener, logger *slog.Logger) *Router {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{ln: ln, logger: logger, limit: helloTimeout, places: newPlaces(MaxPendingHellos)}
	r.counts.refused = make([]atomic.Uint64, len(reasons))
	r.closing, r.close = context.WithCancel(context.Background())
	r.routes.Store(newRoutes(nil))
	return r
}

// OpenRouter returns a Router for the TLS listener that s names. guard is as for [Open].
func OpenRouter(ctx context.Context, s Spec, guard *Guard, logger *slog.Logger) (*Router, error) {
	ln, err := openTCP(ctx, s, nil, guard)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	r := NewRouter(ln, logger)
	r.guard = guard
	return r, nil
}

// Guard returns the guard of the listener, or nil.
func (r *Router) Guard() *Guard { return r.guard }

// Add returns the listener for the clients that a service wants. secure returns a connection that
// speaks TLS; nil leaves that to the peers. Of services that want the same clients, the one that
// was added last gets them. Add fails with net.ErrClosed after the last Routed was closed.
func (r *Router) Add(wanted Wanted, secure func(net.Conn) net.Conn) (*Routed, error) {
	l, err := r.Prepare(wanted, secure)
	if err == nil {
		l.Activate()
	}
	return l, err
}

// Prepare is Add for a service that is not yet sure to start: it gets no clients, and takes none
// from other services, before Activate.
func (r *Router) Prepare(wanted Wanted, secure func(net.Conn) net.Conn) (*Routed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("share %s: %w", r.name(), net.ErrClosed)
	}
	l := &Routed{queue: newQueue(r.ln.Addr(), MaxRouted, r.places), router: r, wanted: wanted, secure: secure}
	r.open = append(r.open, l)
	return l, nil
}

// HasProxies reports whether the listener reads PROXY headers.
func (r *Router) HasProxies() bool {
	l, ok := r.ln.(*namedListener)
	if !ok {
		return false
	}
	_, has := l.deadlineListener.(*proxyListener)
	return has
}

// Closed reports whether the last Routed was closed.
func (r *Router) Closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Start begins to accept. Further calls do nothing.
func (r *Router) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun || r.closed {
		return
	}
	r.begun = true
	loop := accept.Loop{Listener: r.ln, Soft: r.closing, Hard: r.closing, Start: r.start, Failed: r.failed}
	r.running.Go(func() {
		loop.Run()
		r.accepting.noteClosed()
	})
}

// passOn ends accepting, and leaves the services what has been accepted.
func (r *Router) passOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.ln.(interface{ passOn() }); ok {
		l.passOn()
	}
	if !r.begun {
		r.begun = true // for Start
		r.accepting.noteClosed()
	}
}

// remove takes out l, and reports whether it was the last.
func (r *Router) remove(l *Routed) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = slices.DeleteFunc(r.open, func(other *Routed) bool { return other == l })
	r.routes.Store(newRoutes(r.open))
	r.closed = len(r.open) == 0
	return r.closed
}

// end closes the listener and ends everything that Start and start have begun.
func (r *Router) end() error {
	r.close()
	r.places.close()
	err := r.ln.Close()
	r.running.Wait()
	r.refusals.Flush()
	if r.guard != nil {
		r.guard.FlushLog()
	}
	r.acceptLog.Flush()
	return err
}

func (r *Router) failed(err error) {
	r.counts.acceptErrors.Add(1)
	r.acceptLog.Warn(r.logger, "accept failed, trying again", slog.String("listener", r.name()), slog.Any("err", err))
}

// start waits for a place and awaits the ClientHello in a goroutine.
func (r *Router) start(conn net.Conn) {
	if !r.places.enter(conn, r.limit) {
		resetConn(conn)
		return
	}
	r.running.Go(func() {
		defer r.places.leave()
		r.route(conn)
	})
}

// route hands conn to the service that wants it, or ends it.
func (r *Router) route(conn net.Conn) {
	h, whole, err := clienthello.Read(conn)
	if !r.places.settled(conn) && err != nil {
		err = errHelloOverdue
	}
	switch {
	case r.closing.Err() != nil:
		resetConn(whole)
		return
	case errors.Is(err, clienthello.ErrProbe):
		r.counts.probes.Add(1)
		resetConn(whole)
		return
	case err != nil:
		r.refuseHello(whole, err)
		return
	}
	l, kind := r.routes.Load().find(h)
	switch {
	case l == nil:
		r.refuse(whole, kind.String(), slog.String("server_name", shortened(h.ServerName)))
		drain(whole)
		turnAway(whole, unrecognizedName)
	case !l.offer(l.named(whole, h.ServerName)):
		l.busy.Add(1)
		r.refuse(whole, ReasonBusy, slog.String("server_name", shortened(h.ServerName)))
		resetConn(whole)
	}
}

func (r *Router) name() string { return schemeTLS + "://" + r.ln.Addr().String() }

// Routed is the listener of one service at a Router. Accept returns connections whose ClientHello
// has come; see [Open] for their types.
type Routed struct {
	*queue
	use
	router *Router
	wanted Wanted
	secure func(net.Conn) net.Conn // nil: TLS is passed through
	active bool                    // guarded by the router's mu
	busy   atomic.Uint64           // see Busy
	once   sync.Once
	err    error
}

// Activate lets the service get clients; see [Router.Prepare].
func (l *Routed) Activate() {
	r := l.router
	r.mu.Lock()
	defer r.mu.Unlock()
	l.active = true
	r.routes.Store(newRoutes(r.open))
}

// Accept waits for the next client of the service. It does not do the TLS handshake.
func (l *Routed) Accept() (net.Conn, error) {
	conn, err := l.queue.Accept()
	if err != nil || l.secure == nil {
		return conn, err
	}
	return l.secure(conn), nil
}

// StepAside is as for other listeners; see [Spec.ReusePort].
func (l *Routed) StepAside() error {
	if s, ok := l.router.ln.(interface{ StepAside() error }); ok {
		return s.StepAside()
	}
	return nil
}

// String returns the actual address as a -listen value.
func (l *Routed) String() string {
	return l.use.scheme(true) + "://" + l.router.ln.Addr().String() + l.suffix()
}

// Want changes which clients the service gets from now on; see [Router.Add].
func (l *Routed) Want(wanted Wanted) {
	r := l.router
	r.mu.Lock()
	defer r.mu.Unlock()
	l.wanted = wanted
	r.routes.Store(newRoutes(r.open))
}

// Busy returns how many clients of the service were refused since MaxRouted waited already.
func (l *Routed) Busy() uint64 { return l.busy.Load() }

// Router returns the Router that l belongs to.
func (l *Routed) Router() *Router { return l.router }

// Close ends a waiting Accept and resets the connections that have waited for one. Other services
// go on; with the last of them the listener that they share is closed, and then Close returns when
// all goroutines of the Router have ended.
func (l *Routed) Close() error {
	l.once.Do(func() {
		last := l.router.remove(l)
		for _, conn := range l.queue.close() {
			resetConn(conn)
		}
		if last {
			l.err = l.router.end()
		}
	})
	return l.err
}
