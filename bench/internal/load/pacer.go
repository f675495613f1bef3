//go:build linux

package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// pacer ticks at a fixed rate. All ticks follow from the start time, so that delays do not add up.
type pacer struct {
	start unix.Timespec
	rate  int // per second
}

func newPacer(rate int) (p pacer, err error) {
	p.rate = rate
	return p, unix.ClockGettime(unix.CLOCK_MONOTONIC, &p.start)
}

// await blocks the thread in the kernel until tick n.
func (p pacer) await(n int) {
	rawSleepUntil(unix.NsecToTimespec(p.start.Nano() + int64(n)*int64(time.Second)/int64(p.rate)))
}
