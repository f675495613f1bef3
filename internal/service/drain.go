package service

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"linesplit/internal/accept"
)

const (
	drainLogInterval = 10 * time.Second // between two lines of the log about a drain that goes on
	drainLogTargets  = 10               // the most targets that such a line names
)

// noteEndOfInput begins the drain at the end of all input, unless soft's end has begun it, or does
// so since other services have the listeners. It has
// no time limit: there is no supervisor that waits, and a receiver may be slow. cause is why the
// input could not be read to its end, or nil.
func (s *service) noteEndOfInput(soft context.Context, cause error) {
	switch {
	case soft.Err() != nil, s.in.passedOn.Load():
		return
	case cause == nil:
		s.logger.Info("drain began", "cause", "end of input")
	default:
		s.logger.Info("drain began", "cause", cause)
	}
	s.draining.Store(true)
}

// logDrain logs now and then what a drain waits for, from the end of drains until stop is called.
func (s *service) logDrain(drains context.Context) (stop func()) {
	over, end := context.WithCancel(context.Background())
	stopWaiting := accept.After(drains, func() {
		for began := time.Now(); ; {
			accept.Pause(over, drainLogInterval)
			if over.Err() != nil {
				return
			}
			s.logger.Info("drain goes on",
				append([]any{"since", time.Since(began).Round(time.Second)}, s.mode.waitsFor()...)...)
		}
	})
	return func() { end(); stopWaiting() }
}

// targetCount is how much a drain waits for at one target.
type targetCount struct {
	target string
	n      int64
}

// byTarget returns an attribute with the targets that a drain waits for, those with the most first.
func byTarget(key string, counts []targetCount) slog.Attr {
	counts = slices.DeleteFunc(counts, func(c targetCount) bool { return c.n <= 0 })
	slices.SortStableFunc(counts, func(a, b targetCount) int { return cmp.Compare(b.n, a.n) })
	var all []any
	for _, c := range counts[:min(len(counts), drainLogTargets)] {
		all = append(all, slog.Int64(c.target, c.n))
	}
	return slog.Group(key, all...)
}

func (m *lineMode) waitsFor() []any {
	in, out := m.stats()
	l := ledgerOf(in, out[0])
	var connections int
	var lines []targetCount
	for _, g := range out {
		for _, t := range g.Targets {
			connections += t.Connections
			lines = append(lines, targetCount{t.Name, int64(t.Retained.Lines)})
		}
	}
	return []any{
		"senders", max(0, in.Connections), "target_connections", connections,
		"unconfirmed_lines", l.Queued.Lines + l.Retained.Lines, "unconfirmed_bytes", l.Queued.Bytes + l.Retained.Bytes,
		byTarget("unconfirmed_lines_of", lines),
	}
}

func (m *connectionMode) waitsFor() []any {
	now := m.relay.Stats()
	var connections []targetCount
	for _, t := range now.Targets {
		connections = append(connections, targetCount{t.Name, t.Active})
	}
	return []any{
		"connections", max(0, now.Active), "connections_waiting", max(0, now.Waiting), byTarget("connections_to", connections),
	}
}
