package workerpool

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fineTimer is a timer of the kernel's (timerfd_create(2)), with a goroutine that waits for it.
type fineTimer struct {
	rings chan time.Time // holds one value
	file  *os.File
	fd    int
	ended sync.WaitGroup
}

func newFineTimer() (*fineTimer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	t := &fineTimer{rings: make(chan time.Time, 1), file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
	t.ended.Go(t.wait)
	return t, nil
}

// set makes the timer ring after d, and no more at the time that it was set to before.
func (t *fineTimer) set(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))} // zero would stop it
	unix.TimerfdSettime(t.fd, 0, &spec, nil)                              // cannot fail
}

// close returns when the goroutine has ended.
func (t *fineTimer) close() {
	t.file.Close()
	t.ended.Wait()
}

func (t *fineTimer) wait() {
	var expirations [8]byte
	for {
		if _, err := t.file.Read(expirations[:]); err != nil {
			return // closed
		}
		select {
		case t.rings <- time.Now():
		default:
		}
	}
}
