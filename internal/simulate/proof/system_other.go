//go:build !linux

package proof

import (
	"os"
	"syscall"
)

func newProcessGroup() *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { p.Kill() }

// peakTreeRSS returns 0, because this system does not tell.
func peakTreeRSS(int) int64 { return 0 }
