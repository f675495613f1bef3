package discovery

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"linesplit/internal/children"
)

// outputDelay is how long after the program's end a process that it has left behind may keep the
// output open.
const outputDelay = 500 * time.Millisecond

// execSource runs a program without arguments, and reads its output.
type execSource struct{ spec Spec }

func (s *execSource) lookup(ctx context.Context) (Answer, error) {
	out := bounded{limit: maxList}
	complaint := bounded{limit: maxQuoted}
	cmd := exec.CommandContext(ctx, s.spec.place)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.WaitDelay = outputDelay
	children.Group(cmd)
	if err := children.Start(cmd); err != nil {
		return Answer{}, fmt.Errorf("start program: %w", err)
	}
	err := children.Wait(cmd)
	children.KillGroup(cmd)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the program itself has ended well
	}
	switch {
	case ctx.Err() != nil:
		return Answer{}, fmt.Errorf("killed: it takes too long: %w", ctx.Err())
	case err != nil && len(complaint.text) > 0:
		return Answer{}, fmt.Errorf("%w: %s", err, oneLine(string(complaint.text), maxQuoted))
	case err != nil:
		return Answer{}, err
	case out.cut:
		return Answer{}, fmt.Errorf("prints more than %d bytes", maxList)
	}
	places, err := decodeOutput(out.text)
	if err != nil {
		return Answer{}, err
	}
	return s.spec.answer(places)
}

// bounded keeps the first bytes that are written to it, and discards the others.
type bounded struct {
	limit int
	text  []byte
	cut   bool // more was written
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.limit-len(b.text))
	b.text = append(b.text, p[:n]...)
	b.cut = b.cut || n < len(p)
	return len(p), nil
}
