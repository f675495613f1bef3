package delivery

import (
	"log/slog"

	"linesplit/internal/loglimit"
)

// LogBurst is how many messages of one kind a target logs at once in half a minute; the others are
// logged in sum. With hundreds of workers, each of which is connected and fails, a target that
// resets its connections would flood the log.
const LogBurst = 4

// backendLogs has a limiter for each kind of message about a target's connections.
type backendLogs struct {
	connected, failedOver, movedOn, failedBack, failed, takesNothing, refused loglimit.Limiter
}

func (l *backendLogs) all() []*loglimit.Limiter {
	return []*loglimit.Limiter{&l.connected, &l.failedOver, &l.movedOn, &l.failedBack, &l.failed, &l.takesNothing,
		&l.refused}
}

func (l *backendLogs) init() {
	for _, limiter := range l.all() {
		limiter.Burst = LogBurst
	}
}

// FlushLog logs what the log has held back to report it in sum.
func (b *Backend) FlushLog() {
	for _, limiter := range b.logs.all() {
		limiter.Flush()
	}
	b.Target.FlushLog()
}

// targetAttr names a target in a message.
func targetAttr(b *Backend) slog.Attr { return slog.Any("target", b.Target) }
