//go:build unix && !linux

package listen

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// lchmod changes the mode of a file, and not of one that a symbolic link leads to.
func lchmod(path string, mode fs.FileMode) error {
	return unix.Fchmodat(unix.AT_FDCWD, path, uint32(mode.Perm()), unix.AT_SYMLINK_NOFOLLOW)
}
