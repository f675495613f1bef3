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
