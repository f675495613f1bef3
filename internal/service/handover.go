package service

import (
	"context"
	"log/slog"
	"time"

	"linesplit/internal/accept"
)

// handOverTime is how long a process goes on accepting after it has stepped aside. Connections that
// are on their way to it arrive within some round trips.
const handOverTime = time.Second

// handOver returns a context that ends when accepting must end. Without -reuse-port that is when
// soft ends. With it, a new process may share the ports: when soft ends, the listeners step aside,
// so that new connections go to the new process, and accepting ends handOverTime later. Listeners
// whose sockets belong to other services by then do not.
func (in *inbound) handOver(soft, hard context.Context, logger *slog.Logger) (accepting context.Context, stop func()) {
	if !in.reuse {
		return soft, func() {}
	}
	accepting, cancel := context.WithCancel(context.WithoutCancel(soft))
	stopWaiting := accept.After(soft, func() {
		defer cancel()
		if in.passedOn.Load() {
			return
		}
		in.stepAside(logger)
		accept.Pause(hard, handOverTime)
	})
	return accepting, func() { stopWaiting(); cancel() }
}

func (in *inbound) stepAside(logger *slog.Logger) {
	for _, ln := range in.listeners {
		if l, ok := ln.(interface{ StepAside() error }); ok {
			if err := l.StepAside(); err != nil {
				logger.Warn("cannot step aside for another process", "listener", accept.Name(ln), "err", err)
			}
		}
	}
}
