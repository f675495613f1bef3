//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package listen

import "golang.org/x/sys/unix"

// checkWritable returns an error if the process's user and group cannot create files in a
// directory.
func checkWritable(dir string) error {
	return unix.Access(dir, unix.W_OK|unix.X_OK)
}
