package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"linesplit/admin"
	"linesplit/internal/simulate/console"
)

const topInterval = time.Second

// Control sequences of a terminal (ECMA-48): move to the upper left corner, clear the rest of the
// line, clear the rest of the screen.
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// top shows status and targets every second; on a terminal, each time in the same place. If
// linesplit becomes unreachable, it may be restarting: top shows the error and goes on. But if it
// cannot be reached at first, top returns the error. With JSON, each answer is a line.
func top(ctx context.Context, s *session, _ []string) error {
	ticks := time.NewTicker(topInterval)
	defer ticks.Stop()
	for first := true; ; first = false {
		answer, err := s.do(ctx, http.MethodGet, "/status", nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (first || !unreachable(err)):
			return err
		}
		if _, err := s.out.Write(s.screen(answer, err)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

func unreachable(err error) bool {
	_, is := errors.AsType[*UnreachableError](err)
	return is
}

// screen returns one screenful, to be written at once so that it does not flicker.
func (s *session) screen(answer []byte, err error) []byte {
	if s.json {
		return printableJSON(answer)
	}
	var text bytes.Buffer
	var status admin.Status
	if err == nil {
		err = json.Unmarshal(answer, &status)
	}
	if err != nil {
		fmt.Fprintf(&text, "%s  %v\n", time.Now().Format(time.TimeOnly), err)
	} else {
		writeStatus(&text, status)
		fmt.Fprintln(&text)
		writeTargets(&text, status.Targets)
	}
	if !console.IsTerminal(s.out) {
		return append(text.Bytes(), '\n')
	}
	return append([]byte(home), append(bytes.ReplaceAll(text.Bytes(), []byte("\n"), []byte(clearLine+"\n")),
		clearRest...)...)
}
