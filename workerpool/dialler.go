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
	turn    int      // while all are down
	failed  bool     // the last attempt failed, or brought a connection of no use
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
		backoff.WithMaxElapsedTime(0), // for ever
	)
}

// end waits for a running attempt and throws its result away.
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

// learn takes note of how a connection has failed. One that was of use lets past failures be forgotten.
func (d *dialler) noteFailure(c *outConn, err error) {
	d.failed = !c.confirmed && err != errStalled && err != errDrainStalled
	if !d.failed {
		d.backoff.Reset()
	}
}

// begin forgets past failures.
func (d *dialler) reset() {
	d.avoid, d.prefer, d.failed, d.armed = nil, nil, false, false
	d.backoff.Reset()
}

// later asks for an attempt after a delay that grows with each failure.
func (d *dialler) retryLater() {
	d.armed = true
	d.timer.Reset(d.backoff.NextBackOff())
}

// retry fires when the next attempt is due.
func (d *dialler) retry() <-chan time.Time {
	if !d.armed || d.busy {
		return nil
	}
	return d.timer.C
}
