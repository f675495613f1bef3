package systemd

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic returns the time since boot as systemd measures it (CLOCK_MONOTONIC,
// clock_gettime(2)).
func monotonic() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
