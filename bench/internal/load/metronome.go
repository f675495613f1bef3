//go:build linux

package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// metronome beats at times that follow from its start alone, so that nothing drifts.
type metronome struct {
	start unix.Timespec
	rate  int // per second
}

func newMetronome(rate int) (m metronome, err error) {
	m.rate = rate
	return m, unix.ClockGettime(unix.CLOCK_MONOTONIC, &m.start)
}

// await sleeps until the beat n, in the kernel: the thread blocks.
func (m metronome) await(n int) {
	due := unix.NsecToTimespec(m.start.Nano() + int64(n)*int64(time.Second)/int64(m.rate))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &due, nil) == unix.EINTR {
	}
}
