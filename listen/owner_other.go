//go:build !linux

package listen

import (
	"io/fs"
	"os"
)

// setOwner changes the owner of a socket file that was just bound; -1 leaves it.
func setOwner(path string, uid, gid int) error { return os.Lchown(path, uid, gid) }

// setMode changes the mode of a socket file that was just bound.
func setMode(path string, mode fs.FileMode) error { return lchmod(path, mode) }
