package service

import "linesplit/internal/loop"

// makeRoom leaves processors for all other goroutines beside the event loops.
func makeRoom(loops int) {
	if loop.Supported && loops > 0 {
		loop.MakeRoom(loops)
	}
}
