//go:build unix

package health

import (
	"errors"
	"os/exec"
	"syscall"
)

// setProcessGroup makes the program the leader of a process group of its own.
func setProcessGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the program and what is left of the group. Its number is not given to another
// process while any of it is left, and hardly ever soon afterwards: the kernel goes through all
// numbers first. The program itself may have gone over to another group.
func killGroup(cmd *exec.Cmd) error {
	return errors.Join(syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL), cmd.Process.Kill())
}
