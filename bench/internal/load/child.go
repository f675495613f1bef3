//go:build linux

package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Child is a process that runs a role. The kernel kills it when the thread that started it ends; it
// is also killed when its context is cancelled.
type Child struct {
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// Spawn starts a child. The caller must call Stop.
func Spawn(ctx context.Context, role string, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{role}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return &Child{role, cmd, in, bufio.NewScanner(out)}, nil
}

// PID returns the process ID.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ask sends a command and waits for the answer. See Await.
func (c *Child) Ask(command, word string) ([]string, error) {
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.role, command, err)
	}
	return c.Await(word)
}

// Await reads one line, which must begin with word, and returns its other fields.
func (c *Child) Await(word string) ([]string, error) {
	if !c.out.Scan() {
		return nil, fmt.Errorf("%s: ended without answering %q: %w", c.role, word,
			errors.Join(c.out.Err(), io.ErrUnexpectedEOF))
	}
	fields := strings.Fields(c.out.Text())
	if len(fields) == 0 || fields[0] != word {
		return nil, fmt.Errorf("%s: %s", c.role, c.out.Text())
	}
	return fields[1:], nil
}

// ParseFigures parses fields into to. Both must have the same length.
func ParseFigures(fields []string, to []float64) error {
	if len(fields) != len(to) {
		return fmt.Errorf("%q: %d figures expected", fields, len(to))
	}
	for i, field := range fields {
		var err error
		if to[i], err = strconv.ParseFloat(field, 64); err != nil {
			return err
		}
	}
	return nil
}

// Stop kills the child and waits until it has ended. It may be called more than once.
func (c *Child) Stop() {
	c.in.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
}
