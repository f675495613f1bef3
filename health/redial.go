package health

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/target"
)

// maxRedialFactor limits the wait between background dials to this many times RedialDelay.
const maxRedialFactor = 8

// redial dials the target in the background whenever dials alone have marked it down, until a dial
// succeeds. It returns when ctx ends or the settings are replaced.
func (w *watcher) redial(ctx context.Context) {
	w.redialUntilUp(ctx) // the target may be down already, and an earlier watcher may have received its message
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.set.replaced:
			return
		case <-w.target.Failed():
		}
		w.redialUntilUp(ctx)
	}
}

func (w *watcher) redialUntilUp(ctx context.Context) {
	waits := w.backoff()
	for w.downByDials() && w.sleep(ctx, waits.NextBackOff()) && w.downByDials() {
		err := w.dial(ctx, w.target.Address)
		switch {
		case err == nil:
			w.target.DialSucceeded()
		case ctx.Err() != nil:
		case target.IsLocalError(err):
			w.target.DialHindered(err)
		default:
			w.target.DialFailed(err)
		}
	}
}

func (w *watcher) downByDials() bool { return w.target.Down() && !w.target.Unhealthy() }

func (w *watcher) backoff() *backoff.ExponentialBackOff {
	first := w.set.RedialDelay
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(first), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(maxRedialFactor*first), backoff.WithRandomizationFactor(jitter), backoff.WithMaxElapsedTime(0))
}

// sleep waits for d. It returns false if ctx ends or the settings are replaced first.
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

// dialOnce connects as for a client and ends the connection at once.
func dialOnce(ctx context.Context, a target.Address, o target.Options) error {
	header, err := localHeader(a)
	if err != nil {
		return err
	}
	conn, err := target.Dial(ctx, a, &o, header)
	if err != nil {
		return err
	}
	defer conn.Close()
	if a.Scheme == target.SchemeUDP {
		return nil
	}
	return closeInOrder(converse(conn))
}
