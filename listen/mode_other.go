//go:build !linux

package listen

import "syscall"

// closeToAll does nothing here: a socket file has the permissions that the umask leaves until, a moment after it was
// bound, it gets its own.
func closeToAll(_, _ string, _ syscall.RawConn) error { return nil }
