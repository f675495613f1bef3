package health

import (
	"context"
	"fmt"
	"os/exec"

	"linesplit/internal/children"
)

// runProgram runs the program with the address as its argument. It discards the output, so that
// Wait does not block on a descendant that keeps the output open. It kills the program when ctx
// ends, and in every case the processes that the program left behind in its process group.
func runProgram(ctx context.Context, command, address string) error {
	cmd := exec.CommandContext(ctx, command, address)
	children.Group(cmd)
	if err := children.Start(cmd); err != nil {
		return &startError{err}
	}
	err := children.Wait(cmd)
	children.KillGroup(cmd)
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
