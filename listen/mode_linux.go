package listen

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// closeToAll takes all permissions off a socket before it is bound: bind gives the file the mode of the socket's own
// inode, less the umask. (The umask alone would serve only by being changed for the whole process.) Where a sandbox
// refuses it, things are as on other systems: the umask decides for the moment until the file gets its mode.
func closeToAll(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), 0) })
}
