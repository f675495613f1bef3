package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// cannot be reached at first, top returns the error. With JSON, each answer is a line. If there are
// several services and the session is about none of them, top shows all.
func top(ctx context.Context, s *session, _ []string) error {
	path := "/status"
	ticks := time.NewTicker(topInterval)
	defer ticks.Stop()
	for first := true; ; first = false {
		answer, err := s.do(ctx, http.MethodGet, path, nil)
		if first && several(err) {
			path = servicesPath
			answer, err = s.do(ctx, http.MethodGet, path, nil)
		}
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

func writeScreen(w io.Writer, s admin.Status) {
	writeStatus(w, s)
	fmt.Fprintln(w)
	writeTargets(w, s.Targets)
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
	var all struct { // of one service or of several
		admin.Status
		Services []admin.Status
	}
	if err == nil {
		err = json.Unmarshal(answer, &all)
	}
	switch {
	case err != nil:
		fmt.Fprintf(&text, "%s  %v\n", time.Now().Format(time.TimeOnly), err)
	case all.Services == nil:
		writeScreen(&text, all.Status)
	default:
		writeServices(&text, all.Services)
		for i, one := range all.Services {
			_ = writeHeading(&text, i+1, one)
			writeScreen(&text, one)
		}
	}
	if !console.IsTerminal(s.out) {
		return append(text.Bytes(), '\n')
	}
	return append([]byte(home), append(bytes.ReplaceAll(text.Bytes(), []byte("\n"), []byte(clearLine+"\n")),
		clearRest...)...)
}
