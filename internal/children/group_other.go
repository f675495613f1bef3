//go:build !unix

package children

import "os/exec"

func setGroup(*exec.Cmd) {}

// KillGroup kills the program alone: there are no process groups here.
func KillGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }
