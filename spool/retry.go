package spool

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// retry spaces attempts at something that fails.
type retry struct {
	backoff *backoff.ExponentialBackOff
	at      time.Time // of the next attempt; zero: at once
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

func newRetry() retry {
	return retry{backoff: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstRetry), backoff.WithMultiplier(2),
		backoff.WithMaxInterval(lastRetry), backoff.WithMaxElapsedTime(0))}
}

// failed puts the next attempt off.
func (r *retry) failed() { r.at = time.Now().Add(r.backoff.NextBackOff()) }

// succeeded makes the next attempt possible at once.
func (r *retry) succeeded() {
	r.backoff.Reset()
	r.at = time.Time{}
}

// delay returns the time until the next attempt.
func (r *retry) delay() time.Duration {
	if r.at.IsZero() {
		return 0
	}
	return max(time.Until(r.at), 0)
}

// pause returns the time until the next attempt, or an hour if nothing has failed.
func (r *retry) pause() time.Duration {
	if r.at.IsZero() {
		return time.Hour
	}
	return r.delay()
}
