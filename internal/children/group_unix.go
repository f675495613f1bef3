//go:build unix

package children

import (
	"errors"
	"os/exec"
	"syscall"
)

func setGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// KillGroup kills the program and what is left of the group. Its number is not given to another
// process while any of it is left, and hardly ever soon afterwards: the kernel goes through all
// numbers first. The program itself may have gone over to another group.
func KillGroup(cmd *exec.Cmd) error {
	return errors.Join(syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL), cmd.Process.Kill())
}
