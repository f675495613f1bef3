package health

import (
	"errors"
	"fmt"
	"io"
	"regexp"

	"linesplit/internal/stranger"
)

// sendExpect writes, and reads until what has come matches.
func (c Check) sendExpect(conn *conversation) error {
	if len(c.send) > 0 {
		if _, err := conn.Write(c.send); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return expect(conn, c.expect)
}

// expect reads until pattern matches what has come so far. It returns an error when r ends first.
func expect(r io.Reader, pattern *regexp.Regexp) error {
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		got = append(got, buf[:n]...)
		if n > 0 && pattern.Match(got) {
			return nil
		}
		if err != nil {
			return unmatched(got, pattern, err)
		}
	}
}

func unmatched(got []byte, pattern *regexp.Regexp, err error) error {
	switch {
	case len(got) >= maxAnswer:
		return fmt.Errorf(`no match for "%s" in the first %d bytes, which begin with %s`, pattern, maxAnswer, stranger.Quote(got))
	case len(got) > 0 && errors.Is(err, io.EOF):
		return fmt.Errorf(`no match for "%s" in all that came, which begins with %s`, pattern, stranger.Quote(got))
	case len(got) > 0:
		return fmt.Errorf(`no match for "%s" in what came, which begins with %s: %w`, pattern, stranger.Quote(got), err)
	}
	return fmt.Errorf(`nothing came where "%s" was expected: %w`, pattern, err)
}
