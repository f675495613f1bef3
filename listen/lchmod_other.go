//go:build !unix

package listen

import (
	"io/fs"
	"os"
)

func lchmod(path string, mode fs.FileMode) error { return os.Chmod(path, mode) }
