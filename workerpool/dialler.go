package workerpool

import (
	"context"
	"sync"

	"linesplit/internal/delivery"
)

// dialler makes one attempt at a time beside its worker, which owns it and takes the results.
type dialler struct {
	results chan dialResult
	attempt sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc
}

type dialResult struct {
	conn    Conn
	backend *delivery.Backend
	err     error
}

func (d *dialler) start(ctx context.Context) {
	d.ctx, d.cancel = context.WithCancel(ctx)
	d.results = make(chan dialResult, 1)
}

// stop waits for a running attempt and discards its result.
func (d *dialler) stop() {
	d.cancel()
	d.attempt.Wait()
	select {
	case r := <-d.results:
		if r.conn != nil {
			r.conn.Close()
		}
	default:
	}
}

func (d *dialler) connect(dial Dial, b *delivery.Backend) {
	d.attempt.Go(func() {
		c, err := dial(d.ctx, b.Target.NextDial())
		d.results <- dialResult{c, b, err}
	})
}
