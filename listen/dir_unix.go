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
	lockPatience = 5 * time.Second // the lock is held for a moment only, by those who know what it is for
	lockInterval = 10 * time.Millisecond
)

// writable reports why files cannot be made in a directory. It asks for the process's own user and group.
func writable(dir string) error {
	return unix.Access(dir, unix.W_OK|unix.X_OK)
}

// lockDir excludes other processes that run it on the same directory until unlock is called or the process ends. A
// directory that may be written but not read cannot be locked; then there is no lock.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", dir, reason(err))
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if err := flock(ctx, d); err != nil {
		d.Close()
		return nil, fmt.Errorf("lock directory %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// flock tries until it has the lock: waiting in the kernel could not be interrupted.
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

// ignoreUnsupported: some file systems have no locks, or none on directories. Then there is none, and the rest still holds.
func ignoreUnsupported(err error) error {
	switch err {
	case unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP, unix.EBADF, unix.EINVAL:
		return nil
	default:
		return err
	}
}
