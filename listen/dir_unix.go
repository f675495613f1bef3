//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockTimeout  = 5 * time.Second // processes that run this code hold the lock only for a moment
	lockInterval = 10 * time.Millisecond
)

// checkWritable returns an error if the process's user and group cannot create files in a
// directory.
func checkWritable(dir string) error {
	return unix.Access(dir, unix.W_OK|unix.X_OK)
}

// lockDir locks a directory against other processes that use lockDir, until unlock is called or the
// process ends. A directory that is writable but not readable cannot be locked; then there is no
// lock.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", dir, withoutPath(err))
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	if err := flock(ctx, d); err != nil {
		d.Close()
		return nil, fmt.Errorf("lock directory %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// flock polls for the lock, since waiting in the kernel could not be interrupted.
func flock(ctx context.Context, d *os.File) error {
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return ignoreUnsupported(err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another process holds it: %w", context.Cause(ctx))
		case <-time.After(lockInterval):
		}
	}
}

// ignoreUnsupported returns nil for the errors of file systems that have no locks, or none on
// directories. The caller then goes on without a lock.
func ignoreUnsupported(err error) error {
	switch err {
	case unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP, unix.EBADF, unix.EINVAL:
		return nil
	default:
		return err
	}
}
