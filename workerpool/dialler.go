package workerpool

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	initialDelay = 50 * time.Millisecond
	maxDelay     = 2 * time.Second // an operator who restarts a target should not wait for linesplit
)

// dialler makes one attempt at a time beside its worker, which owns it and takes the results.
type dialler struct {
	dial    Dial
	results chan dialResult
	attempt sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc

	busy    bool
	backoff *backoff.ExponentialBackOff
	timer   *time.Timer
	armed   bool
	avoid   *backend // the one that failed last
	prefer  *backend // the one to try first, once
	turn    int      // counts attempts while all are down; see inTurn
	failed  bool     // the last attempt failed, or its connection confirmed nothing
}

type dialResult struct {
	conn    Conn
	backend *backend
	err     error
}

func (d *dialler) start(ctx context.Context, dial Dial) {
	d.dial = dial
	d.ctx, d.cancel = context.WithCancel(ctx)
	d.results = make(chan dialResult, 1)
	d.timer = time.NewTimer(0)
	d.backoff = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(initialDelay),
		backoff.WithMaxInterval(maxDelay),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // no limit
	)
}

// stop waits for a running attempt and discards its result.
func (d *dialler) stop() {
	d.cancel()
	d.timer.Stop()
	d.attempt.Wait()
	select {
	case r := <-d.results:
		if r.conn != nil {
			r.conn.Close()
		}
	default:
	}
}

func (d *dialler) connect(b *backend) {
	if d.busy {
		return
	}
	d.busy, d.armed = true, false
	d.attempt.Go(func() {
		c, err := d.dial(d.ctx, b.target.Address)
		d.results <- dialResult{c, b, err}
	})
}

// noteFailure notes a failed connection. If it was of use, past failures no longer delay the
// next dial.
func (d *dialler) noteFailure(c *outConn, err error) {
	d.failed = !c.confirmed && err != errStalled && err != errDrainStalled
	if !d.failed {
		d.backoff.Reset()
	}
}

// reset forgets past failures.
func (d *dialler) reset() {
	d.avoid, d.prefer, d.failed, d.armed = nil, nil, false, false
	d.backoff.Reset()
}

// retryLater schedules an attempt after a delay that grows with each failure.
func (d *dialler) retryLater() {
	d.armed = true
	d.timer.Reset(d.backoff.NextBackOff())
}

// retry returns a channel that fires when the next attempt is due, nil if none is scheduled.
func (d *dialler) retry() <-chan time.Time {
	if !d.armed || d.busy {
		return nil
	}
	return d.timer.C
}
