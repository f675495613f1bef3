package children

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reap reaps every child that Start has not started, until ctx ends. Programs that were started in
// another way lose their exit status to it.
func Reap(ctx context.Context) {
	exits := make(chan os.Signal, 1)
	signal.Notify(exits, syscall.SIGCHLD)
	defer signal.Stop(exits)
	for {
		started.reap()
		select {
		case <-ctx.Done():
			return
		case <-exits:
		case <-started.changed:
		}
	}
}

// reap stops at a program that wait is about to reap, and while a program starts, since its process
// number is not known yet. Both make a change when they are done.
func (r *registry) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.starting == 0 {
		pid := exited()
		if pid == 0 || r.own[pid] {
			return
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil && err != unix.EINTR {
			return
		}
	}
}

// exited returns the process number of a child that has ended, without reaping it; 0 for none.
func exited() int {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || info.Signo == 0:
			return 0
		default:
			return pidOf(&info)
		}
	}
}

// pidOf returns si_pid, the first field of a union that unix.Siginfo leaves out. Three numbers of 4
// bytes stand before the union, which is aligned to a pointer (waitid(2), asm-generic/siginfo.h).
func pidOf(info *unix.Siginfo) int {
	const word = unsafe.Sizeof(uintptr(0))
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), (3*4+word-1)/word*word)))
}
