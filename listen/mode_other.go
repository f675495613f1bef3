//go:build !linux

package listen

import "syscall"

// clearMode does nothing here: a socket file has the permissions that the umask leaves until it
// gets its own, a moment after it was bound.
func clearMode(_, _ string, _ syscall.RawConn) error { return nil }
