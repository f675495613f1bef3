package acked

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// A server that takes lines later is asked again after the time that it names, or after a wait that
// begins with firstWait and doubles up to maxWait.
const (
	firstWait = 500 * time.Millisecond
	maxWait   = 30 * time.Second
	// maxAfter limits the time that a server names. Other targets take the lines meanwhile.
	maxAfter = 5 * time.Minute
)

// patience is the waiting for a server that takes lines later. The zero value is ready to use.
type patience struct{ next time.Duration }

// wait waits as the server has asked.
func (p *patience) wait(ctx context.Context, s *httpSender, v verdict) error {
	p.next = min(max(2*p.next, firstWait), maxWait)
	d := v.after
	if d == 0 {
		d = p.next
	}
	s.rejects.waits.Warn(s.rejects.logger, "target asks to wait", slog.Any("target", s.address), slog.String("answer", v.answer),
		slog.Duration("wait", d))
	return sleep(ctx, d)
}

func (p *patience) reset() { p.next = 0 }

// retryAfter returns the time in a Retry-After header (RFC 9110, 10.2.3), a number of seconds or a
// date; 0 for none that makes sense.
func retryAfter(value string, now time.Time) time.Duration {
	d := time.Duration(0)
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxAfter)
}
