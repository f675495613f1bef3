package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// serving is one call of Serve.
type serving struct {
	*Relay
	soft, hard context.Context
	cut        context.Context // ends when connections are to be cut off
	cutOff     context.CancelFunc
	ln         net.Listener
	running    sync.WaitGroup // the goroutines of all conns
	arrivals   chan *conn     // to those preparers that have nothing to do
	resting    atomic.Int64   // how many these are, at least

	mu    sync.Mutex
	conns map[*conn]struct{}
}

const (
	// After the end was asked for, accepting goes on until the backlog has been empty for this long: a client whose connect succeeded
	// counts on being served.
	backlogWait = 10 * time.Millisecond
	backlogMost = 250 * time.Millisecond // however many come
)

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
	soft, cancel := context.WithCancel(soft)
	defer cancel()
	v := &serving{Relay: r, soft: soft, hard: hard, ln: ln, conns: make(map[*conn]struct{}), arrivals: make(chan *conn)}
	v.cut, v.cutOff = context.WithCancel(hard)
	defer v.cutOff()
	defer ln.Close()
	r.enter()
	defer r.leave()

	abort := after(v.cut, func() { cancel(); v.abortAll() })
	defer abort()
	lastCall := after(soft, v.lastCall)
	var keeping sync.WaitGroup
	kept, endKeeping := context.WithCancel(context.Background())
	keeping.Go(func() { v.keepHouse(kept) })
	err := v.accept()
	lastCall()
	close(v.arrivals)

	ended := make(chan struct{})
	go func() { defer close(ended); v.running.Wait() }()
	select {
	case <-ended:
	case <-soft.Done():
		ln.Close()
		v.drain(ended)
		<-ended
	}
	endKeeping()
	keeping.Wait()
	return err
}

// after runs f once ctx has ended. The function it returns calls that off or, where it is too late, waits for f.
func after(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	callOff := context.AfterFunc(ctx, func() { defer close(done); f() })
	return func() {
		if !callOff() {
			<-done
		}
	}
}

func (r *Relay) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servings++
}

// leave gives back what is kept for the next connection, once there will be none.
func (r *Relay) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.servings--; r.servings == 0 {
		r.carrier.trim(true)
	}
}

// accept starts connections until the listener ends.
func (v *serving) accept() error {
	retry := newBackOff(5*time.Millisecond, time.Second, 0)
	var last time.Time // no accepting beyond it
	for {
		nc, err := v.ln.Accept()
		stopping := v.soft.Err() != nil
		switch {
		case err == nil:
			retry.Reset()
			v.start(nc)
			if stopping && !v.another(&last) {
				return nil
			}
		case stopping:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", v.ln.Addr(), err)
		default:
			v.counters.acceptErrors.Add(1)
			v.acceptFailed.warn(v.o.Logger, "accept failed, trying again",
				slog.String("listener", listenerName(v.ln)), slog.Any("error", err))
			pause(v.soft, retry.NextBackOff())
		}
	}
}

func newBackOff(first, longest, most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(most), // 0: for ever
	)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// lastCall lets accept empty the backlog and end. A deadline in the past would not do: Accept fails on it before it looks. Where the
// listener has no deadline, it is closed after the same while.
func (v *serving) lastCall() {
	if !v.acceptUntil(time.Now().Add(backlogWait)) {
		pause(v.hard, backlogWait)
		v.ln.Close()
	}
}

// another says whether one more may be accepted now that the end was asked for.
func (v *serving) another(last *time.Time) bool {
	now := time.Now()
	if last.IsZero() {
		*last = now.Add(backlogMost)
	}
	v.acceptUntil(now.Add(backlogWait))
	return now.Before(*last)
}

func (v *serving) acceptUntil(t time.Time) bool {
	d, ok := v.ln.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
}

// mostResting is how many preparers are kept. Dialling makes a stack grow, and one that has grown is worth keeping.
const mostResting = 32

// start has nc served by other goroutines.
func (v *serving) start(nc net.Conn) {
	c := newConn(v, nc)
	if why := v.admit(c.addr); why != notEnded {
		c.client.reset()
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
		c.abort(shutdown)
	}
}

func (v *serving) remove(c *conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, c)
}

// each calls f, which must not wait for anything, for each connection.
func (v *serving) each(f func(*conn)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		f(c)
	}
}

// drain lets connections end, and resets those that do not.
func (v *serving) drain(ended <-chan struct{}) {
	t := time.NewTimer(v.o.Drain)
	defer t.Stop()
	select {
	case <-ended:
	case <-v.hard.Done():
	case <-t.C:
		v.cutOff()
	}
}

// abortAll resets everything.
func (v *serving) abortAll() {
	v.ln.Close()
	v.each(func(c *conn) { c.abort(shutdown) })
}

// listenerName is the address as the configuration has it, where the listener knows it.
func listenerName(ln net.Listener) string {
	if s, ok := ln.(interface{ String() string }); ok {
		return s.String()
	}
	return ln.Addr().Network() + "://" + ln.Addr().String()
}
