package health

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/target"
)

// maxTrial is how many times Trial lies between trials at most.
const maxTrial = 8

// tryAgain dials t whenever dials alone have marked it down, until one succeeds.
func (c *Checker) tryAgain(ctx context.Context, t *target.Target) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.Failed():
		}
		c.tryUntilUp(ctx, t)
	}
}

func (c *Checker) tryUntilUp(ctx context.Context, t *target.Target) {
	waits := c.backoff()
	for sleep(ctx, waits.NextBackOff()) && t.Down() && !t.Ejected() {
		err := c.dial(ctx, t.Address)
		switch {
		case err == nil:
			t.DialSucceeded()
		case ctx.Err() != nil, ours(err):
		default:
			t.DialFailed(err)
		}
	}
}

func (c *Checker) backoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(c.options.Trial), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(maxTrial*c.options.Trial), backoff.WithRandomizationFactor(jitter), backoff.WithMaxElapsedTime(0))
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
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
	conn, err := target.Connect(ctx, a, &o, header)
	if err != nil {
		return err
	}
	return conn.Close()
}
