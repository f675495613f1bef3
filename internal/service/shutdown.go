package service

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// RepeatedWithin is the time after a signal to end within which a further one is a repetition.
// `timeout`, process managers and terminals (Ctrl-C under `docker run -it`) send a signal to the
// process and at once to its group, so that it comes twice.
const RepeatedWithin = time.Second

// shutdownContexts returns the two contexts that a run ends by. soft ends soon after ctx or the
// first SIGTERM or SIGINT, once the log says so; hard ends at the next signal that is no
// repetition, or when the drain timeout has passed since soft ended. drainTimeout is called once,
// when the drain begins. stop ends both contexts and waits for the goroutine that watches them.
func shutdownContexts(ctx context.Context, drainTimeout func() time.Duration, logger *slog.Logger) (
	soft, hard context.Context, stop func(),
) {
	soft, endSoft := context.WithCancel(context.WithoutCancel(ctx))
	hard, endHard := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	w := endWatcher{signals: signals, stopped: make(chan struct{}), logger: logger}
	var watcher sync.WaitGroup
	watcher.Go(func() {
		w.watch(ctx, drainTimeout, endSoft, endHard)
		// The next signal kills the process, so that nothing can delay its end for ever; but a
		// repetition must not change the exit code of a process that is about to end by itself.
		time.AfterFunc(time.Until(w.repeatedUntil), func() { signal.Stop(signals) })
	})
	return soft, hard, func() {
		close(w.stopped)
		watcher.Wait()
		endSoft()
	}
}

// endWatcher waits for the causes that end a run. It belongs to one goroutine.
type endWatcher struct {
	signals <-chan os.Signal
	stopped chan struct{} // closed when the run is over
	logger  *slog.Logger

	repeatedUntil time.Time // until then signals are repetitions of the last one that was none
}

// watch calls endSoft and endHard when it is time for them, and endHard before it returns.
func (w *endWatcher) watch(ctx context.Context, drainTimeout func() time.Duration, endSoft, endHard func()) {
	defer endHard()
	var cause any
	select {
	case cause = <-w.signals:
		w.repeatedUntil = time.Now().Add(RepeatedWithin)
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-w.stopped:
		return
	}
	drain := drainTimeout()
	w.logger.Info("drain began", "cause", cause, "drain_timeout", drain)
	endSoft()
	if s := w.nextSignal(time.After(drain)); s != nil {
		w.logger.Warn("stopping at once", "cause", s)
		w.repeatedUntil = time.Now().Add(RepeatedWithin)
	} else if !w.over() {
		w.logger.Warn("drain timeout has passed", "drain_timeout", drain)
	}
	endHard()
	w.nextSignal(time.After(time.Until(w.repeatedUntil))) // logs repetitions
}

// nextSignal returns the next signal that is no repetition, or nil when timeout is ready first or
// the run is over.
func (w *endWatcher) nextSignal(timeout <-chan time.Time) os.Signal {
	for {
		select {
		case s := <-w.signals:
			if !time.Now().Before(w.repeatedUntil) {
				return s
			}
			w.logger.Info("signal taken as a repetition of the one before", "signal", s, "within", RepeatedWithin)
		case <-timeout:
			return nil
		case <-w.stopped:
			return nil
		}
	}
}

// over reports whether the run is over.
func (w *endWatcher) over() bool {
	select {
	case <-w.stopped:
		return true
	default:
		return false
	}
}
