//go:build linux

package main_test

import (
	"fmt"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// arrived waits until every line sent has been read by a receiving application.
func (s *stage) arrived() {
	s.Helper()
	if testrig.Poll(testrig.Patience, func() bool { return s.tally.HasAll(s.sent) }) {
		return
	}
	r := s.tally.Report(s.sent)
	m, _ := s.p.Scrape() // without it there is still something to tell
	s.Fatalf("lines are missing: %s\n%s\n%s", r, r.Details(), m.Dump())
}

// bound is how many duplicates a claim allows.
type bound int

const (
	none   bound = iota // each line once
	resent              // at most as many as are counted as resent
)

// finish is the end of most tests: every line arrives whole, the ledger holds, nothing is left behind, SIGTERM is
// answered with exit code 0, and the receivers have no more duplicates than duplicates allows.
func (s *stage) finish(duplicates bound) {
	s.Helper()
	s.arrived()
	s.leftNothing()
	m := s.ledger()
	if got := m.Sum("linesplit_received_lines_total"); got != float64(s.sent.Lines()+s.others) {
		s.Errorf("linesplit counts %.0f lines received, the senders wrote %d", got, s.sent.Lines()+s.others)
	}
	s.terminate(0)
	s.judge(m, duplicates)
}

// ledger waits for a quiet moment in which the ledger holds, and returns the metrics of it.
func (s *stage) ledger() (m testrig.Metrics) {
	s.Helper()
	var before, now [2]testrig.Ledger
	quiet := testrig.Poll(testrig.Patience, func() bool {
		m = s.p.Metrics()
		before, now = now, [2]testrig.Ledger{m.Ledger("lines"), m.Ledger("bytes")}
		return now == before && now[0].Holds() && now[1].Holds()
	})
	if !quiet {
		s.Errorf("the ledger does not hold:\n%s\n%s\n%s", now[0], now[1], m.Dump())
	}
	return m
}

// leftNothing checks that linesplit holds no more than when it started. The senders must be gone.
func (s *stage) leftNothing() {
	s.Helper()
	var now usage
	if testrig.Poll(testrig.Patience, func() bool { now = usageOf(s.p.Metrics()); return now.within(s.base) }) {
		return
	}
	m := s.p.Metrics()
	s.Fatalf("left behind: %v goroutines (%v at the start), %v descriptors (%v at the start)\n%s\n%s", now.goroutines,
		s.base.goroutines, now.descriptors, s.base.descriptors, m.Dump(), s.p.Goroutines())
}

// terminate sends SIGTERM and checks the exit code.
func (s *stage) terminate(want int) {
	s.Helper()
	if code := s.p.Terminate(); code != want {
		s.Errorf("exit code %d, want %d", code, want)
	}
}

// usage is what a process holds that it may lose hold of.
type usage struct{ goroutines, descriptors float64 }

func (u usage) within(limit usage) bool {
	return u.goroutines <= limit.goroutines && u.descriptors <= limit.descriptors
}

func usageOf(m testrig.Metrics) usage {
	return usage{m.Sum("go_goroutines"), m.Sum("process_open_fds")}
}

// settledUsage waits until the workers are connected and the numbers stand still.
func settledUsage(t *testing.T, p *testrig.Process, conns int) usage {
	t.Helper()
	var now, before usage
	testrig.WaitFor(t, fmt.Sprintf("%d connections to targets", conns), func() bool {
		m := p.Metrics()
		before, now = now, usageOf(m)
		return m.Sum("linesplit_target_connections") == float64(conns) && now == before
	})
	return now
}

// report is the line of the log that says how the drain ended.
func (s *stage) report() string {
	for line := range strings.Lines(s.p.Stderr()) {
		if strings.Contains(line, `msg="drain ended"`) {
			return line
		}
	}
	return "(no report)"
}

// reported is a number in that line, which says more than the last scrape: it includes what happened during the drain.
func (s *stage) reported(key string) (n float64) {
	_, rest, _ := strings.Cut(s.report(), key+"=")
	fmt.Sscan(rest, &n)
	return n
}

// judge compares what was sent with what the receivers have read, once linesplit is gone and they have nothing more to
// read.
func (s *stage) judge(m testrig.Metrics, duplicates bound) {
	s.Helper()
	for _, sink := range s.sinks {
		testrig.WaitFor(s.T, "the targets read to the end", func() bool { return sink.Conns() == 0 })
	}
	r := s.tally.Report(s.sent)
	counted := max(m.Sum("linesplit_resent_lines_total"), s.reported("resent_lines"))
	s.Logf("%s, resent as counted %.0f", r, counted)
	if r.Lost+r.NeverSent+r.Corrupt+r.Torn > 0 {
		s.Errorf("%s\n%s", r, r.Details())
	}
	switch {
	case duplicates == none && r.Duplicates > 0:
		s.Errorf("%d duplicates, want none (%.0f lines resent)\n%s\n%s", r.Duplicates, counted, r.Details(), m.Dump())
	case duplicates == resent && float64(r.Duplicates) > counted:
		s.Errorf("%d duplicates, and only %.0f lines are counted as resent\n%s\n%s", r.Duplicates, counted, r.Details(), m.Dump())
	}
}

// below checks a bound on memory. The race detector keeps memory of its own, so with it there is nothing to check.
func (s *stage) below(limit, got int64, what string) {
	s.Helper()
	s.Logf("%s: %d KiB, allowed are %d KiB (judged: %v)", what, got>>10, limit>>10, !testrig.Race)
	if got > limit && !testrig.Race {
		s.Errorf("%s: %d KiB, want at most %d KiB", what, got>>10, limit>>10)
	}
}

// contains fails the test for each part that text lacks.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("lacks %q:\n%s", part, text)
		}
	}
}
