// Package accept is what serving a listener takes in either mode: a loop that lives through every error of Accept and leaves nobody in
// the backlog at the end, and a word about repeated failures that does not flood the log.
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
	// After the end was asked for, accepting goes on until the backlog has been empty for this long: a peer whose connect succeeded
	// counts on being served, and may have written all it has to say and gone.
	backlogWait = 10 * time.Millisecond
	backlogMost = 250 * time.Millisecond // however many come

	// Between attempts to accept that fail: the descriptors are used up, say.
	firstRetry   = 5 * time.Millisecond
	longestRetry = time.Second
)

// Loop accepts connections. All fields but Room are needed.
type Loop struct {
	Listener net.Listener
	Soft     context.Context // when it ends, the backlog is emptied and Run returns
	Hard     context.Context // when it ends, nothing is waited for any more
	Start    func(net.Conn)  // takes each connection, and does not hold up the loop
	Failed   func(error)     // is told of each failure of Accept that is tried again
	Room     func() bool     // waits until there is room for one more; false if Soft has ended meanwhile. nil: there always is
}

// Run accepts until Soft ends, with LastCall to tell it so, or until Accept returns io.EOF, which says that the listener is a finite
// one. Its error is nil unless the listener was closed by somebody else. Any other error of Accept is retried.
func (l *Loop) Run() error {
	retry := NewBackOff(firstRetry, longestRetry)
	var last time.Time // no accepting beyond it
	for l.Room == nil || l.Room() {
		nc, err := l.Listener.Accept()
		stopping := l.Soft.Err() != nil
		switch {
		case err == nil:
			retry.Reset()
			l.Start(nc)
			if stopping && !l.another(&last) {
				return nil
			}
		case stopping && last.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) && l.another(&last):
			// On a busy machine LastCall's moment may have passed before Accept looked. This one begins where it looks.
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

// LastCall, called once Soft has ended, lets Run empty the backlog and return. A deadline in the past would not do: Accept fails on it
// before it looks. Where the listener has no deadline, it is closed after the same while.
func (l *Loop) LastCall() {
	if !l.acceptUntil(time.Now().Add(backlogWait)) {
		Pause(l.Hard, backlogWait)
		l.Listener.Close()
	}
}

// another says whether one more may be accepted now that the end was asked for.
func (l *Loop) another(last *time.Time) bool {
	now := time.Now()
	if last.IsZero() {
		*last = now.Add(backlogMost)
	}
	l.acceptUntil(now.Add(backlogWait))
	return now.Before(*last)
}

func (l *Loop) acceptUntil(t time.Time) bool {
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
}

// NewBackOff returns delays that grow from first to longest, for as many attempts as it takes.
func NewBackOff(first, longest time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(longest),
		backoff.WithMaxElapsedTime(0), // for ever
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

// After runs f once ctx has ended. The function it returns calls that off or, where it is too late, waits for f.
func After(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	callOff := context.AfterFunc(ctx, func() { defer close(done); f() })
	return func() {
		if !callOff() {
			<-done
		}
	}
}
