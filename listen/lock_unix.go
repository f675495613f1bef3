//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockTimeout  = 5 * time.Second // processes that run this code hold the lock only for a moment
	lockInterval = 10 * time.Millisecond
	lockSuffix   = ".linesplit-lock"
)

// lock locks a path against other processes of this user that use lock, until unlock is called or
// the process ends. It does so by a file beside the path, which others may neither read nor write:
// they cannot hold its lock. A lock on the directory itself would be open to all who may read it.
//
// There is no lock where such a file cannot be made, or where something else has its name.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	name := path + lockSuffix
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		f, info, err := openLock(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("directory %s: %w", filepath.Dir(path), withoutPath(err))
		case err != nil:
			return func() {}, nil
		}
		if err := flock(ctx, f); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if now, err := os.Lstat(name); err == nil && os.SameFile(now, info) {
			return func() {
				_ = removeSame(name, info) // what is left is used again
				f.Close()
			}, nil
		}
		f.Close() // its last holder has removed it
	}
}

var errForeignLock = errors.New("not a file of this user alone")

// openLock opens a lock file, which it makes if necessary.
func openLock(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !isPrivate(info) {
		err = errForeignLock
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// isPrivate reports whether no other user can open a regular file.
func isPrivate(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == os.Geteuid() && info.Mode().IsRegular() && info.Mode()&0o077 == 0
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
