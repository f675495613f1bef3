package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// clearMode removes all permissions from a socket before it is bound: bind gives the file the mode
// of the socket's own inode, less the umask. (Changing the umask instead would affect the whole
// process.) If a sandbox refuses this, the umask decides until the file gets its mode, as on other
// systems.
func clearMode(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0) })
}
