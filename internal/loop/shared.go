package loop

import (
	"log/slog"
	"sync"
)

// Shared is a Group that runs while it has users. The zero value is ready to use, and its methods
// are safe for concurrent use.
type Shared struct {
	mu    sync.Mutex // guards the fields below
	users int
	group *Group // nil: there are no loops
}

// Enter starts n loops for the first user, and returns them to all users. The group is nil if n is
// 0, on systems without event loops, and if the loops could not be started, which is logged.
// Goroutines then serve all connections.
func (s *Shared) Enter(n int, logger *slog.Logger) *Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
	if s.group != nil || n < 1 || !supported {
		return s.group
	}
	group, err := New(n)
	if err != nil {
		logger.Warn("no event loops, goroutines serve all connections", slog.Any("err", err))
		return nil
	}
	s.group = group
	return group
}

// Leave undoes Enter. The user's connections must have ended. With the last user it ends the loops.
func (s *Shared) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.group != nil {
		s.group.Shutdown()
		s.group = nil
	}
}
