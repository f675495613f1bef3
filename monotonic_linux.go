package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the time since the machine started, as systemd measures it (CLOCK_MONOTONIC, clock_gettime(2)).
func monotonic() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
