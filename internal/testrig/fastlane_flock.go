//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package testrig

import "golang.org/x/sys/unix"

// lockFile waits for an exclusive lock on the file or directory at path and returns a function
// that releases it. The kernel releases it too when the process ends.
//
// It locks the module's directory and not go.mod or go.sum, which the go command locks itself: a
// build would wait for the test. It does not open with package os, because the go command would
// then take the directory's content for an input of the test and run it again after each change.
func lockFile(path string) (release func(), err error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, err
	}
	_, err = retry(func() (int, error) { return 0, unix.Flock(fd, unix.LOCK_EX) })
	if err == nil {
		return func() {
			// Unlocked before it is closed, because a process that is being started holds a copy
			// of the descriptor until it executes its program.
			unix.Flock(fd, unix.LOCK_UN)
			unix.Close(fd)
		}, nil
	}
	unix.Close(fd)
	if err == unix.ENOLCK || err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return nil, errNoFileLocks
	}
	return nil, err
}

// retry repeats a system call that a signal interrupts.
func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}
