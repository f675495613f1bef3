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
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// After Soft has ended, accepting goes on until the backlog has been empty for backlogWait: a
	// peer whose connect succeeded expects to be served, and may have written all its data and
	// closed. Accepting ends after maxBacklog however many connections come.
	backlogWait = 10 * time.Millisecond
	maxBacklog  = 250 * time.Millisecond

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
}

// Run accepts until Soft ends and LastCall is called, or until Accept returns io.EOF, which means
// that the listener is a finite one. It retries after any other error of Accept. The error is nil
// unless the listener was closed elsewhere.
func (l *Loop) Run() error {
	retry := NewBackOff(initialRetry, maxRetry)
	var last time.Time // when accepting ends at the latest; zero until Soft has ended
	for l.Room == nil || l.Room() {
		nc, err := l.Listener.Accept()
		stopping := l.Soft.Err() != nil
		switch {
		case err == nil:
			retry.Reset()
			l.Start(nc)
			if stopping && !l.acceptAnother(&last) {
				return nil
			}
		case stopping && last.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) && l.acceptAnother(&last):
			// On a busy machine LastCall's deadline may have passed before Accept looked at the
			// backlog. acceptAnother has set a new one.
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
// listener without deadlines is closed after the same time.
func (l *Loop) LastCall() {
	if !l.acceptUntil(time.Now().Add(backlogWait)) {
		Pause(l.Hard, backlogWait)
		l.Listener.Close()
	}
}

// acceptAnother reports whether one more connection may be accepted although Soft has ended, and
// sets the deadline for it.
func (l *Loop) acceptAnother(last *time.Time) bool {
	now := time.Now()
	if last.IsZero() {
		*last = now.Add(maxBacklog)
	}
	l.acceptUntil(now.Add(backlogWait))
	return now.Before(*last)
}

func (l *Loop) acceptUntil(t time.Time) bool {
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
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
