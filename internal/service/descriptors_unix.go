//go:build unix

package service

import "syscall"

// descriptorLimit returns the maximum number of open descriptors of the process (getrlimit(2),
// RLIMIT_NOFILE), or 0 if it is unknown. The Go runtime has raised the soft limit to the hard one
// by now.
func descriptorLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return int(min(l.Cur, 1<<30))
}
