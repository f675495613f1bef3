// Package accept serves a listener from its first connection to the end of its last: it survives
// every error of Accept, empties the backlog when told to stop, drains, and aborts.
package accept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// After Soft has ended, accepting goes on until the backlog has been empty for backlogWait: a
	// peer whose connect succeeded expects to be served, and may have written all its data and
	// closed. After maxBacklog only connections that are there already are accepted, and after
	// maxEmptying none: a busy machine may need long for a backlog of a moment, but connections
	// that keep coming must not hold up the end.
	backlogWait = 10 * time.Millisecond
	maxBacklog  = 250 * time.Millisecond
	maxEmptying = 2 * time.Second
	// lateWait is the time to wait for a connection after maxBacklog.
	lateWait = time.Millisecond
	// emptyLooks is how many deadlines of Accept in a row have to pass without a connection until
	// the backlog counts as empty: on a busy machine, one may have passed before Accept looked.
	emptyLooks = 2
	// undatedWait takes the place of backlogWait for a listener without deadlines.
	undatedWait = 5 * backlogWait

	// Delays between attempts while Accept fails, for lack of descriptors for example.
	initialRetry = 5 * time.Millisecond
	maxRetry     = time.Second
)

// Loop accepts connections. All fields but Room are needed.
type Loop struct {
	Listener net.Listener
	Soft     context.Context // when it ends, the backlog is emptied and Run returns
	Hard     context.Context // when it ends, LastCall does not wait
	Start    func(net.Conn)  // takes each connection and does not block
	Failed   func(error)     // told of each failure of Accept that is retried

	// Room waits until one more connection may be accepted. It returns false if Soft ends first.
	// nil means that there is always room.
	Room func() bool

	accepted atomic.Int64 // connections so far
}

// emptying is the state of Run once Soft has ended. The zero value is ready to use.
type emptying struct {
	began time.Time
	empty int // deadlines that have passed in a row
}

// Run accepts until Soft ends and LastCall is called, or until Accept returns io.EOF, which means
// that the listener is a finite one, or until the listener is passed on. It retries after any other
// error of Accept. The error is nil unless the listener was closed elsewhere.
func (l *Loop) Run() error {
	retry := NewBackOff(initialRetry, maxRetry)
	var end emptying
	for l.Room == nil || l.Room() {
		nc, err := l.Listener.Accept()
		stopping := l.Soft.Err() != nil
		switch {
		case err == nil:
			retry.Reset()
			end.empty = 0
			l.accepted.Add(1)
			l.Start(nc)
			if stopping && !l.acceptAnother(&end) {
				return nil
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && PassedOn(l.Listener):
			return nil
		case stopping && errors.Is(err, os.ErrDeadlineExceeded) && end.looksAgain() && l.acceptAnother(&end):
		case stopping, errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", l.Listener.Addr(), err)
		default:
			l.Failed(err)
			Pause(l.Soft, retry.NextBackOff())
		}
	}
	return nil
}

// LastCall lets Run empty the backlog and return. It is called once Soft has ended. It sets a
// deadline shortly ahead, since with one in the past Accept fails before it looks at the backlog. A
// listener without deadlines is closed once no connection has come for undatedWait, and after
// maxEmptying at the latest.
func (l *Loop) LastCall() {
	if PassedOn(l.Listener) || l.acceptUntil(time.Now().Add(backlogWait)) {
		return
	}
	for end, before := time.Now().Add(maxEmptying), int64(-1); time.Now().Before(end); {
		now := l.accepted.Load()
		if now == before || l.Hard.Err() != nil {
			break
		}
		before = now
		Pause(l.Hard, undatedWait)
	}
	l.Listener.Close()
}

// looksAgain counts a deadline that has passed without a connection, and reports whether to look at
// the backlog once more.
func (e *emptying) looksAgain() bool {
	e.empty++
	return e.empty < emptyLooks
}

// acceptAnother reports whether to call Accept again although Soft has ended, and sets the deadline
// for it.
func (l *Loop) acceptAnother(e *emptying) bool {
	if PassedOn(l.Listener) { // what the listener itself has accepted; its deadline has passed
		return true
	}
	now := time.Now()
	if e.began.IsZero() {
		e.began = now
	}
	wait := backlogWait
	if now.Sub(e.began) >= maxBacklog {
		wait = lateWait
	}
	l.acceptUntil(now.Add(wait))
	return now.Sub(e.began) < maxEmptying
}

func (l *Loop) acceptUntil(t time.Time) bool {
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
}

// PassedOn reports whether another listener has the socket of ln, and accepts what is in its
// backlog: this one is to accept nothing more from there, and has a deadline in the past. Listeners
// tell so by a method of that name.
func PassedOn(ln any) bool {
	p, ok := ln.(interface{ PassedOn() bool })
	return ok && p.PassedOn()
}

// NewBackOff returns delays that grow from initial to longest, without end.
func NewBackOff(initial, longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(initial),
		backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0), // no limit
	)
}

// Pause returns after d, or when ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// After runs f in its own goroutine once ctx has ended. stop prevents that or, if f has begun,
// waits until it has returned.
func After(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() { defer close(done); f() })
	return func() {
		if !cancel() {
			<-done
		}
	}
}
