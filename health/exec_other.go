//go:build !unix

package health

import "os/exec"

func setProcessGroup(*exec.Cmd) {}

// killGroup kills the program alone: there are no process groups here.
func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }
