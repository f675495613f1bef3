//go:build linux

package testrig

import (
	"net"
	"syscall"
)

// closeListener closes ln and has its socket refuse connections from now on, even if another
// process holds a descriptor of it. Closing alone does not do that: a process that a test is just
// starting has copies of all descriptors until it executes its program, and the socket goes on
// listening for as long. A connection made to it then is reset.
func closeListener(ln net.Listener) {
	if sc, ok := ln.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			rc.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RD) })
		}
	}
	ln.Close()
}
