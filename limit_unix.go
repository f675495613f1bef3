//go:build unix

package main

import "syscall"

// descriptorLimit returns how many descriptors the process may have open (getrlimit(2), RLIMIT_NOFILE), 0 if it cannot be
// told. The Go runtime has raised the soft limit to the hard one by now.
func descriptorLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return int(min(l.Cur, 1<<30))
}
