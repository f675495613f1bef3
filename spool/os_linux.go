package spool

import (
	"errors"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Writev calls pwritev(2), again where the kernel took only a part.
func (f osFile) Writev(offset int64, parts [][]byte) (int, error) {
	total := sizeOf(parts)
	n, err := f.pwritev(parts, offset)
	if n == total || err != nil {
		return n, err
	}
	return f.writeRest(offset, parts, n)
}

// pwritev is pwritev(2) without interruptions.
func (f osFile) pwritev(parts [][]byte, offset int64) (int, error) {
	for {
		n, err := unix.Pwritev(int(f.Fd()), parts, offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		return n, nil
	}
}

// WriteSynced calls pwritev2(2) with RWF_DSYNC, or Writev and Sync where the file system cannot do
// that or has taken only a part.
func (f osFile) WriteSynced(offset int64, parts [][]byte) error {
	total := sizeOf(parts)
	for {
		n, err := unix.Pwritev2(int(f.Fd()), parts, offset, unix.RWF_DSYNC)
		switch {
		case err == unix.EINTR:
			continue
		case err == nil && n == total:
			return nil
		case err == nil || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS):
			return f.writeAndSync(offset, parts)
		}
		return &os.PathError{Op: "pwritev2", Path: f.Name(), Err: err}
	}
}

// writeRest writes what follows the first n bytes of the parts.
func (f osFile) writeRest(offset int64, parts [][]byte, n int) (int, error) {
	skip := n
	for _, p := range parts {
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		m, err := f.WriteAt(p[skip:], offset+int64(n))
		n, skip = n+m, 0
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, io.ErrShortWrite
		}
	}
	return n, nil
}

// Sync calls fdatasync(2). It is called again only where a signal interrupted it.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}

// Allocate calls fallocate(2). File systems that do not know it get a file without disk space
// behind it: there a full disk shows at a write.
func (f osFile) Allocate(size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case err == unix.EINTR:
			continue
		case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS):
			return f.extend(size)
		case err != nil:
			return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
		}
		return nil
	}
}

// Free calls statfs(2). It knows nothing of quotas of users.
func (osFS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(min(st.Bavail, math.MaxInt64/uint64(st.Bsize))) * st.Bsize, nil
}
