//go:build !linux

package proof

import (
	"net"
	"os"
	"syscall"
)

// unacknowledged returns 0, because this system does not tell.
func unacknowledged(*net.TCPConn) int { return 0 }

func newProcessGroup() *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { p.Kill() }

// peakTreeRSS returns 0, because this system does not tell.
func peakTreeRSS(int) int64 { return 0 }

func withDisk(_ string, _ int64, args []string) []string { return args }

// canMountDisk returns false: only Linux has disks that one process alone sees.
func canMountDisk(string) bool { return false }
