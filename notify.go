package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"linesplit/internal/accept"
)

// tellManager tells systemd, if that has started us and wants to know, that we are ready, and when we begin to stop (sd_notify(3)). As
// long as alive returns in time it also keeps the watchdog quiet, until hard ends. stop releases what stands behind it.
func tellManager(soft, hard context.Context, alive func(), logger *slog.Logger) (stop func()) {
	tellReady(logger)
	stopping := accept.After(soft, func() { tell(daemon.SdNotifyStopping, logger) })
	ctx, cancel := context.WithCancel(hard)
	ended := make(chan struct{})
	go func() { defer close(ended); watchdog(ctx, alive, logger) }()
	return func() {
		stopping()
		cancel()
		select {
		case <-ended:
		case <-time.After(noticePatience): // it is in a write that nobody takes
		}
	}
}

// watchdog calls alive, and tells of it, twice in the time after which systemd takes a process for hanging.
func watchdog(ctx context.Context, alive func(), logger *slog.Logger) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("cannot tell what watchdog is wanted", "err", err)
	}
	if err != nil || interval <= 0 {
		return
	}
	t := time.NewTicker(interval / 2)
	defer t.Stop()
	for {
		alive()
		if err := notify(daemon.SdNotifyWatchdog); err != nil {
			logger.Warn("cannot tell the service manager that all is well", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func tellReady(logger *slog.Logger) { tell(daemon.SdNotifyReady, logger) }

// tellReloading is what Type=notify-reload waits for, with the time at which the reload began. tellReady ends it.
func tellReloading(logger *slog.Logger) {
	tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonic().Microseconds()), logger)
}

// noticePatience is how long a word to the service manager may take: one that does not read must not hold us up.
const noticePatience = time.Second

// tell leaves a goroutine behind where nobody reads. There are few such words in a run.
func tell(state string, logger *slog.Logger) {
	told := make(chan error, 1)
	go func() { told <- notify(state) }()
	select {
	case err := <-told:
		if err != nil {
			logger.Warn("cannot tell the service manager", "state", state, "err", err)
		}
	case <-time.After(noticePatience):
		logger.Warn("the service manager does not read what it is told", "state", state)
	}
}

func notify(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}
