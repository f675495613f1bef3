package relay

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/internal/accept"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

const (
	// Delays between rounds in which each target is tried once.
	initialRetry = 20 * time.Millisecond
	maxRetry     = time.Second
)

// search finds a target for a client: which backends are tried, for how long, and when all are
// tried again. Its driver acquires backends, dials and waits.
type search struct {
	until  time.Time      // end of the dial budget; zero before the first dial
	tried  upstream.Tried // in this round
	waited bool           // the client has waited, and may have gone meanwhile
	retry  *backoff.ExponentialBackOff
}

// begin is called before each dial.
func (s *search) begin(r *Relay) {
	if s.until.IsZero() {
		s.until = time.Now().Add(r.tuned().DialBudget)
	}
}

// queued records time spent in the queue, which takes no dial budget.
func (s *search) queued(d time.Duration) {
	s.waited = true
	if !s.until.IsZero() {
		s.until = s.until.Add(d)
	}
}

// share returns the time that one dial may take. While other backends are left to try, that is half
// of the remaining budget, so that one that does not answer leaves time for them.
func (s *search) share(r *Relay) time.Duration {
	left := max(s.left(), time.Millisecond)
	if len(s.tried)+1 < r.backends.Streams.CountOpen(nil) {
		return left / 2
	}
	return left
}

// left returns the rest of the dial budget.
func (s *search) left() time.Duration { return time.Until(s.until) }

// next returns how long to wait before the next backend is acquired, after the dial of one has
// failed or there was none left to try. The reason is not NotEnded if the search is over.
func (s *search) next(r *Relay, failed bool) (wait time.Duration, why traffic.End) {
	switch {
	case !failed && len(s.tried) == 0: // no target can be tried
		why = traffic.EndNoTarget
	case failed && s.left() > 0:
		return 0, traffic.NotEnded
	default:
		if wait = s.round(); wait > 0 {
			return wait, traffic.NotEnded
		}
		why = traffic.EndDialFailed
	}
	r.backends.Streams.SetUnreachable(true)
	return 0, why
}

// round begins a round in which all backends are tried again, and returns the wait before it. The
// last round begins initialRetry before the end of the dial budget, however long the delay would
// be. round returns 0 or less if that time has come.
func (s *search) round() time.Duration {
	if s.retry == nil {
		s.retry = accept.NewBackOff(initialRetry, maxRetry)
	}
	wait := min(s.retry.NextBackOff(), s.left()-initialRetry)
	if wait > 0 {
		s.tried, s.waited = s.tried[:0], true
	}
	return wait
}
