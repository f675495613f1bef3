package workerpool

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 2 * time.Second // an operator who restarts a target should not wait for linesplit
)

// dialler makes one attempt at a time beside its worker, which owns it and takes the results.
type dialler struct {
	dial    Dial
	results chan result
	attempt sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc

	busy    bool
	backoff *backoff.ExponentialBackOff
	timer   *time.Timer
	armed   bool
	avoid   *place // the one that failed last
	prefer  *place // the one to try first, once
	turn    int    // while all are down
	inVain  bool   // the last attempt failed, or brought a connection of no use
}

type result struct {
	conn  Conn
	place *place
	err   error
}

func (d *dialler) start(ctx context.Context, dial Dial) {
	d.dial = dial
	d.ctx, d.cancel = context.WithCancel(ctx)
	d.results = make(chan result, 1)
	d.timer = time.NewTimer(0)
	d.backoff = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstDelay),
		backoff.WithMaxInterval(lastDelay),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // for ever
	)
}

// end waits for a running attempt and throws its result away.
func (d *dialler) end() {
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

func (d *dialler) to(p *place) {
	if d.busy {
		return
	}
	d.busy, d.armed = true, false
	d.attempt.Go(func() {
		c, err := d.dial(d.ctx, p.target.Address)
		d.results <- result{c, p, err}
	})
}

// learn takes note of how a connection has failed. One that was of use lets past failures be forgotten.
func (d *dialler) learn(f *flight, err error) {
	d.inVain = !f.confirmed && err != errStalled && err != errLingers
	if !d.inVain {
		d.backoff.Reset()
	}
}

// begin forgets past failures.
func (d *dialler) begin() {
	d.avoid, d.prefer, d.inVain, d.armed = nil, nil, false, false
	d.backoff.Reset()
}

// later asks for an attempt after a delay that grows with each failure.
func (d *dialler) later() {
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

// seek sees to it that a worker with something to write and no connection is on its way to one.
func (w *worker) seek() {
	d := &w.dialler
	switch {
	case w.flight != nil || d.busy || d.armed || !w.unfinished():
	case d.inVain:
		d.later()
	default:
		w.dial()
	}
}

// dial starts the next attempt, unless one is running: then its result decides. Where there is nobody to go to, the attempt has failed.
func (w *worker) dial() {
	if w.dialler.busy {
		return
	}
	if p := w.candidate(); p != nil {
		w.dialler.to(p)
	} else {
		w.inVain()
	}
}

// redial is dial for when the time for it has come; at the end of all lines it may not be needed any more.
func (w *worker) redial() {
	w.dialler.armed = false
	if (w.flight == nil || w.flight.ending) && w.unfinished() {
		w.dial()
	}
}

// candidate chooses where to go: where the worker was sent, else home unless that failed last, else a random other target that
// is not known to be down; while all are down, home and the others in turn. What a check has found to be down is left out, and
// so is what takes no lines; if that is all of them, it returns nil.
func (w *worker) candidate() *place {
	d := &w.dialler
	if p := d.prefer; p != nil {
		d.prefer = nil
		return p
	}
	avoid := d.avoid
	switch {
	case avoid == nil && w.home.useful():
		return w.home
	case avoid == nil:
		avoid = w.home
	}
	roster := w.pool.roster.Load()
	if t := roster.open.Other(avoid.target); t != nil {
		return roster.placeOf(t)
	}
	return w.inTurn(roster.places)
}

func (w *worker) inTurn(places []*place) *place {
	d := &w.dialler
	for range 2 * len(places) {
		d.turn++
		p := w.home
		if d.turn%2 == 0 {
			p = places[d.turn/2%len(places)]
		}
		if p.useful() {
			return p
		}
	}
	return nil
}

// arrive takes the outcome of an attempt.
func (w *worker) arrive(r result) {
	w.dialler.busy = false
	if r.err != nil {
		w.missed(r)
		return
	}
	r.place.target.DialSucceeded()
	switch {
	case !w.unfinished(): // it is not needed any more
		r.conn.Close()
	case !r.place.join():
		r.conn.Close()
		w.inVain()
	default:
		w.settle(r)
	}
}

// missed goes on with the connection there is, or tries another.
func (w *worker) missed(r result) {
	r.place.target.DialFailed(r.err)
	w.dialler.avoid = r.place
	w.inVain()
}

func (w *worker) inVain() {
	if w.flight != nil && w.flight.ending {
		w.retire()
	}
	w.dialler.inVain = true
}

// settle moves to a fresh connection, between two lines, and begins to leave the one there was.
func (w *worker) settle(r result) {
	now := time.Now()
	if w.flight != nil {
		w.retire()
	}
	w.flight = newFlight(r.conn, r.place, now)
	w.dialler.avoid, w.dialler.prefer = nil, nil
	w.triedHome = now
	w.announce(r.place)
	w.last = r.place
}

// announce logs and counts where the worker has come to.
func (w *worker) announce(to *place) {
	from := w.last
	if from == nil {
		from = w.home
	}
	switch {
	case from == to:
		to.log(w.logger, slog.LevelInfo, "connected", "target", to.target)
	case to == w.home:
		to.failbacks.Add(1)
		to.log(w.logger, slog.LevelInfo, "failed back", "target", to.target, "from", from.target)
	case !from.takes():
		to.log(w.logger, slog.LevelInfo, "moved on", "target", to.target, "from", from.target)
	default:
		from.failovers.Add(1)
		from.log(w.logger, slog.LevelInfo, "failed over", "target", to.target, "from", from.target)
	}
}

// goHome lets a displaced worker dial its home beside its live connection.
func (w *worker) goHome(now time.Time) {
	if w.flight == nil || w.flight.place == w.home || w.flight.ending || w.lines == nil || !w.home.useful() {
		return
	}
	if now.Sub(w.triedHome) < w.pool.settings.Load().FailbackInterval {
		return
	}
	w.triedHome = now
	w.dialler.to(w.home)
}
