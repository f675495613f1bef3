package health

import (
	"context"
	"fmt"
	"os/exec"
)

// execute runs the program. What it writes goes nowhere, so that nobody waits for a descendant
// that keeps the output open. When ctx ends first it is killed, and in any case whatever it has
// started and left behind in its process group.
func runProgram(ctx context.Context, command, address string) error {
	cmd := exec.CommandContext(ctx, command, address)
	setProcessGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	if err := cmd.Start(); err != nil {
		return &startError{err}
	}
	err := cmd.Wait()
	killGroup(cmd)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: killed: %w", command, ctx.Err())
	case err != nil:
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// startError is a program's failure to start.
type startError struct{ err error }

func (e *startError) Error() string { return "start program: " + e.err.Error() }

func (e *startError) Unwrap() error { return e.err }
