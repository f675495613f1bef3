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
	flooded, kill := context.WithCancel(ctx)
	defer kill()
	out := bounded{limit: maxList, full: kill}
	complaint := bounded{limit: maxQuoted}
	cmd := exec.CommandContext(flooded, s.spec.place)
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
	case out.cut:
		return Answer{}, fmt.Errorf("killed: it prints more than %d bytes", maxList)
	case ctx.Err() != nil:
		return Answer{}, fmt.Errorf("killed: it takes too long: more than %v", lookupTimeout)
	case err != nil && len(complaint.text) > 0:
		return Answer{}, fmt.Errorf("%w: %s", err, oneLine(string(complaint.text), maxQuoted))
	case err != nil:
		return Answer{}, err
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
	cut   bool   // more was written
	full  func() // is called then; may be nil
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.limit-len(b.text))
	b.text = append(b.text, p[:n]...)
	if n < len(p) {
		b.cut = true
		if b.full != nil {
			b.full()
		}
	}
	return len(p), nil
}
