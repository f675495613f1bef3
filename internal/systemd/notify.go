// Package systemd talks to the service manager that started the process: it takes over the sockets
// that systemd opened, reports the state of the service by sd_notify(3), and feeds the watchdog.
// Where no service manager listens, every function does nothing.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"linesplit/internal/accept"
	"linesplit/internal/loglimit"
)

// notifyTimeout bounds one notification: a service manager that does not read must not hold up the
// caller.
const notifyTimeout = time.Second

// InheritedFiles returns the sockets that systemd passed to the process (sd_listen_fds(3)), which
// the caller closes. A second call returns none.
func InheritedFiles() []*os.File { return activation.Files(true) }

// Notify reports that the service is ready, and that it is stopping once soft has ended. Until hard
// ends it also feeds the watchdog, as long as alive returns in time. stop ends all of that.
func Notify(soft, hard context.Context, alive func(), logger *slog.Logger) (stop func()) {
	Ready(logger)
	cancelStopping := accept.After(soft, func() { report(daemon.SdNotifyStopping, logger) })
	ctx, cancel := context.WithCancel(hard)
	ended := make(chan struct{})
	go func() { defer close(ended); feedWatchdog(ctx, alive, logger) }()
	return func() {
		cancelStopping()
		cancel()
		select {
		case <-ended:
		case <-time.After(notifyTimeout): // a write to the service manager blocks
		}
	}
}

// feedWatchdog calls alive and notifies the watchdog twice within the time after which systemd
// kills a service that hangs.
func feedWatchdog(ctx context.Context, alive func(), logger *slog.Logger) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("cannot tell what watchdog is wanted", "err", err)
	}
	if err != nil || interval <= 0 {
		return
	}
	var failures loglimit.Limiter
	defer failures.Flush()
	t := time.NewTicker(interval / 2)
	defer t.Stop()
	for {
		alive()
		if err := notify(daemon.SdNotifyWatchdog); err != nil {
			failures.Warn(logger, "cannot tell the service manager that all is well", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Ready reports that the service is ready, at its start or at the end of a reload.
func Ready(logger *slog.Logger) { report(daemon.SdNotifyReady, logger) }

// Reloading reports that a reload begins, with the current time, which Type=notify-reload needs.
// Ready ends the reload.
func Reloading(logger *slog.Logger) {
	report(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonic().Microseconds()), logger)
}

// report sends a state and gives up after notifyTimeout. It then leaves a goroutine behind, in a
// write that blocks; a run reports only a few states.
func report(state string, logger *slog.Logger) {
	done := make(chan error, 1)
	go func() { done <- notify(state) }()
	select {
	case err := <-done:
		if err != nil {
			logger.Warn("cannot tell the service manager", "state", state, "err", err)
		}
	case <-time.After(notifyTimeout):
		logger.Warn("the service manager does not read what it is told", "state", state)
	}
}

func notify(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}
