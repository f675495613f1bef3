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

// shutdownContexts returns the two contexts that a run ends by. soft ends soon after ctx or the first
// SIGTERM or SIGINT, once the log says so; hard ends at the next signal, or when the drain timeout
// has passed since soft ended. drainTimeout is called once, when the drain begins. stop ends both
// contexts and waits for the goroutine that watches them.
func shutdownContexts(ctx context.Context, drainTimeout func() time.Duration, logger *slog.Logger) (
	soft, hard context.Context, stop func(),
) {
	soft, endSoft := context.WithCancel(context.WithoutCancel(ctx))
	hard, endHard := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	stopped := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		defer endHard()
		var drain time.Duration
		select {
		case s := <-signals:
			drain = drainTimeout()
			logger.Info("drain began", "cause", s, "drain_timeout", drain)
		case <-ctx.Done():
			drain = drainTimeout()
			logger.Info("drain began", "cause", "end of input", "drain_timeout", drain)
		case <-stopped:
			return
		}
		endSoft()
		select {
		case s := <-signals:
			logger.Warn("stopping at once", "cause", s)
		case <-time.After(drain):
			logger.Warn("drain timeout has passed", "drain_timeout", drain)
		case <-stopped:
		}
		signal.Stop(signals) // the next signal kills the process, so that nothing can delay its end for ever
	})
	return soft, hard, func() {
		signal.Stop(signals)
		close(stopped)
		watcher.Wait()
		endSoft()
	}
}
