package splitter

import (
	"log/slog"
	"sync"

	"linesplit/internal/loop"
)

// loops are the event loops of a Splitter. They run while Serve does.
type loops struct {
	mu    sync.Mutex // guards the fields below
	users int
	group *loop.Group // nil: goroutines read all connections
}

// enter starts the loops for the first caller. The group is nil if n is 0, or on systems without
// event loops.
func (l *loops) enter(n int, logger *slog.Logger) *loop.Group {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
	if l.group == nil && n > 0 && loop.Supported {
		var err error
		if l.group, err = loop.New(n); err != nil {
			logger.Warn("no event loops, goroutines read all connections", slog.Any("err", err))
			l.group = nil
		}
	}
	return l.group
}

// leave ends the loops with the last caller, whose connections have all ended.
func (l *loops) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users == 0 && l.group != nil {
		l.group.Shutdown()
		l.group = nil
	}
}
