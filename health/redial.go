package health

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/target"
)

// maxTrial is how many times Trial lies between trials at most.
const maxTrial = 8

// tryAgain dials the target whenever dials alone have marked it down, until one succeeds. It
// returns when ctx ends or the settings are replaced.
func (w *watcher) tryAgain(ctx context.Context) {
	w.tryUntilUp(ctx) // its failure may have been told to those before
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.set.replaced:
			return
		case <-w.target.Failed():
		}
		w.tryUntilUp(ctx)
	}
}

func (w *watcher) tryUntilUp(ctx context.Context) {
	waits := w.backoff()
	for w.downByDials() && w.sleep(ctx, waits.NextBackOff()) && w.downByDials() {
		err := w.dial(ctx, w.target.Address)
		switch {
		case err == nil:
			w.target.DialSucceeded()
		case ctx.Err() != nil, ours(err):
		default:
			w.target.DialFailed(err)
		}
	}
}

func (w *watcher) downByDials() bool { return w.target.Down() && !w.target.Unhealthy() }

func (w *watcher) backoff() *backoff.ExponentialBackOff {
	first := w.set.Trial
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(first), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(maxTrial*first), backoff.WithRandomizationFactor(jitter), backoff.WithMaxElapsedTime(0))
}

// sleep returns false if ctx ended first, or the settings were replaced.
func (w *watcher) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-w.set.replaced:
		return false
	case <-timer.C:
		return true
	}
}

// try connects as for a client, and closes at once.
func try(ctx context.Context, a target.Address, o target.Options) error {
	header, err := localHeader(a)
	if err != nil {
		return err
	}
	conn, err := target.Dial(ctx, a, &o, header)
	if err != nil {
		return err
	}
	return conn.Close()
}
