package httpsource

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"linesplit/internal/accept"
)

// serving is one call of Serve.
type serving struct {
	s        *Server
	ln       net.Listener
	endpoint Endpoint
	http     *http.Server
	served   sync.WaitGroup // of http.Serve, and the handshakes
	accepted *queue

	cut    context.Context // ends when no more lines may come
	cutOff context.CancelFunc
	ended  context.Context // ends when no more lines will be confirmed
	over   context.CancelFunc

	mu      sync.Mutex // guards the fields below, and those of clients
	change  *sync.Cond // on mu; signals fewer coming or clients
	clients map[net.Conn]*client
	coming  int  // clients that may hand over lines
	refuses bool // no more lines may be handed over
}

// client is one connection.
type client struct {
	sender  Sender
	handled bool // a handler runs
	waits   bool // for the confirmation of lines that were handed over; not counted in coming
}

type clientKey struct{}

func newServing(s *Server, ln net.Listener, e Endpoint) *serving {
	v := &serving{s: s, ln: ln, endpoint: e, clients: map[net.Conn]*client{}, accepted: newQueue(ln.Addr())}
	v.change = sync.NewCond(&v.mu)
	v.cut, v.cutOff = context.WithCancel(context.Background())
	v.ended, v.over = context.WithCancel(context.Background())
	idle := s.o.Limits().IdleTimeout
	if idle <= 0 {
		idle = defaultIdle
	}
	v.http = &http.Server{
		Handler:           v,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      patience + 4*e.Timeout + answerTimeout, // undoes that of the last answer; a request takes less
		IdleTimeout:       idle,
		MaxHeaderBytes:    maxHeader,
		ConnState:         v.connState,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, clientKey{}, v.clientOf(nc))
		},
		ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug), // any client can cause these
	}
	v.http.Protocols = new(http.Protocols)
	v.http.Protocols.SetHTTP1(true)
	return v
}

// serve is Server.Serve.
func (v *serving) serve(soft, hard context.Context) error {
	v.served.Go(func() { v.http.Serve(v.accepted) }) // until accepted is closed
	server := accept.Server{
		Listener: v.ln,
		Start:    v.start,
		Failed:   func(err error) { v.s.o.Senders.AcceptFailed(v.ln, err) },
		Wait:     v.wait,
		Room:     v.s.o.Senders.AwaitRoom,
		Stopping: v.s.o.Senders.WakeWaiting,
		Drain: func() time.Duration {
			v.http.SetKeepAlivesEnabled(false) // closes idle connections, and the others after their answers
			return v.s.o.Limits().Drain
		},
		CutOff: v.endReading,
		Abort:  func() { v.endReading(); v.over(); v.http.Close() },
	}
	return server.Serve(soft, hard)
}

// start passes a connection to the HTTP server, after a TLS handshake if it speaks TLS.
func (v *serving) start(nc net.Conn) {
	sender, ok := v.s.o.Senders.Admit(nc, v.ln)
	if !ok {
		return
	}
	v.mu.Lock()
	v.clients[nc] = &client{sender: sender}
	v.coming++
	late := v.cut.Err() != nil
	v.mu.Unlock()
	if late {
		nc.Close()
		v.remove(nc)
		return
	}
	v.served.Go(func() {
		if err := v.handshake(nc); err != nil || !v.accepted.put(nc) {
			nc.Close()
			v.remove(nc)
		}
	})
}

func (v *serving) handshake(nc net.Conn) error {
	t, ok := nc.(*tls.Conn)
	if !ok {
		return nil
	}
	t.SetDeadline(time.Now().Add(headerTimeout))
	defer context.AfterFunc(v.cut, func() { t.SetDeadline(past) })()
	err := accept.Handshake(t)
	if err == nil {
		t.SetDeadline(time.Time{})
	} else if v.cut.Err() == nil {
		v.s.o.Senders.HandshakeFailed(nc, err)
	}
	return err
}

func (v *serving) clientOf(nc net.Conn) *client {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.clients[nc]
}

func (v *serving) connState(nc net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		v.remove(nc)
	}
}

func (v *serving) remove(nc net.Conn) {
	v.mu.Lock()
	c := v.clients[nc]
	delete(v.clients, nc)
	if c != nil && !c.waits {
		v.coming--
	}
	v.change.Broadcast()
	v.mu.Unlock()
	if c != nil {
		c.sender.Leave()
	}
}

// enterHandler notes that the handler of a request runs, and reports whether it may hand over
// lines.
func (v *serving) enterHandler(c *client) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.handled = true
	return !v.refuses && v.cut.Err() == nil
}

// awaits notes that the request has handed over all of its lines.
func (v *serving) awaits(c *client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.waits = true
	v.coming--
	v.change.Broadcast()
}

// leaveHandler notes that the request has its answer, and that another one may come.
func (v *serving) leaveHandler(c *client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.handled = false
	if c.waits {
		c.waits = false
		v.coming++
	}
}

// wait waits until no client may hand over lines any more, and refuses those of later requests.
func (v *serving) wait() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.coming > 0 {
		v.change.Wait()
	}
	v.refuses = true
}

// endReading ends the requests that have not handed over their lines, and the connections without
// one.
func (v *serving) endReading() {
	v.cutOff()
	v.mu.Lock()
	defer v.mu.Unlock()
	for nc, c := range v.clients {
		if !c.handled {
			nc.Close()
			v.s.o.Senders.NoteCutOff()
		}
	}
}

// finish closes all connections once the requests have their answers, or the deadline has passed.
// With keep-alive disabled, a connection is closed soon after its answer.
func (v *serving) finish(deadline time.Time) {
	v.cutOff()
	v.http.SetKeepAlivesEnabled(false)
	wake := time.AfterFunc(time.Until(deadline), func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.change.Broadcast()
	})
	defer wake.Stop()
	v.mu.Lock()
	for len(v.clients) > 0 && time.Now().Before(deadline) {
		v.change.Wait()
	}
	v.mu.Unlock()
	v.http.Close()
	v.accepted.Close()
	v.served.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(v.clients) > 0 { // handlers notice that their connections are closed
		v.change.Wait()
	}
}

// queue is a listener of connections that others have accepted.
type queue struct {
	at     net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newQueue(at net.Addr) *queue {
	return &queue{at: at, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// put waits until the connection is taken. It returns false if the queue is closed first.
func (q *queue) put(nc net.Conn) bool {
	select {
	case q.conns <- nc:
		return true
	case <-q.closed:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case nc := <-q.conns:
		return nc, nil
	case <-q.closed:
		return nil, errors.Join(net.ErrClosed)
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return q.at }
