package cli

import (
	"os/exec"
	"syscall"
)

// endWithUs makes the kernel kill cmd, which has not started yet, when this process dies.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL }
