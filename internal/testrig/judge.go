//go:build linux

package testrig

import (
	"fmt"
	"strings"
	"testing"
)

// Arrived waits until every line sent has been read by a receiving application.
func (s *Stage) Arrived() {
	s.Helper()
	if Poll(Patience, func() bool { return s.Tally.HasAll(s.Sent) }) {
		return
	}
	r := s.Tally.Report(s.Sent)
	m, _ := s.P.Scrape() // without it there is still something to tell
	s.Fatalf("lines are missing: %s\n%s\n%s", r, r.Details(), m.Dump())
}

// Bound is how many duplicates a claim allows.
type Bound int

const (
	None   Bound = iota // each line once
	Resent              // at most as many as are counted as resent
)

// Finish is the end of most tests: every line arrives whole, the ledger holds, nothing is left behind, SIGTERM is
// answered with exit code 0, and the receivers have no more duplicates than duplicates allows.
func (s *Stage) Finish(duplicates Bound) {
	s.Helper()
	s.Arrived()
	s.LeftNothing()
	m := s.Ledger()
	if got := m.Sum("linesplit_received_lines_total"); got != float64(s.Sent.Lines()+s.Others) {
		s.Errorf("linesplit counts %.0f lines received, the senders wrote %d", got, s.Sent.Lines()+s.Others)
	}
	s.Terminate(0)
	s.Judge(m, duplicates)
}

// Ledger waits for a quiet moment in which the ledger holds, and returns the metrics of it.
func (s *Stage) Ledger() (m Metrics) {
	s.Helper()
	var before, now [2]Ledger
	quiet := Poll(Patience, func() bool {
		m = s.P.Metrics()
		before, now = now, [2]Ledger{m.Ledger("lines"), m.Ledger("bytes")}
		return now == before && now[0].Holds() && now[1].Holds()
	})
	if !quiet {
		s.Errorf("the ledger does not hold:\n%s\n%s\n%s", now[0], now[1], m.Dump())
	}
	return m
}

// LeftNothing checks that linesplit holds no more than when it started. The senders must be gone.
func (s *Stage) LeftNothing() {
	s.Helper()
	var now Usage
	if Poll(Patience, func() bool { now = usageOf(s.P.Metrics()); return now.within(s.Base) }) {
		return
	}
	m := s.P.Metrics()
	s.Fatalf("left behind: %v goroutines (%v at the start), %v descriptors (%v at the start)\n%s\n%s", now.goroutines,
		s.Base.goroutines, now.descriptors, s.Base.descriptors, m.Dump(), s.P.Goroutines())
}

// Terminate sends SIGTERM and checks the exit code.
func (s *Stage) Terminate(want int) {
	s.Helper()
	if code := s.P.Terminate(); code != want {
		s.Errorf("exit code %d, want %d", code, want)
	}
}

// Usage is what a process holds that it may lose hold of.
type Usage struct{ goroutines, descriptors float64 }

func (u Usage) within(limit Usage) bool {
	return u.goroutines <= limit.goroutines && u.descriptors <= limit.descriptors
}

func usageOf(m Metrics) Usage {
	return Usage{m.Sum("go_goroutines"), m.Sum("process_open_fds")}
}

// SettledUsage waits until the workers are connected and the numbers stand still.
func SettledUsage(t *testing.T, p *Process, conns int) Usage {
	t.Helper()
	var now, before Usage
	WaitFor(t, fmt.Sprintf("%d connections to targets", conns), func() bool {
		m := p.Metrics()
		before, now = now, usageOf(m)
		return m.Sum("linesplit_target_connections") == float64(conns) && now == before
	})
	return now
}

// Report is the line of the log that says how the drain ended.
func (s *Stage) Report() string {
	for line := range strings.Lines(s.P.Stderr()) {
		if strings.Contains(line, `msg="drain ended"`) {
			return line
		}
	}
	return "(no report)"
}

// Reported is a number in that line, which says more than the last scrape: it includes what happened during the drain.
func (s *Stage) Reported(key string) (n float64) {
	_, rest, _ := strings.Cut(s.Report(), key+"=")
	fmt.Sscan(rest, &n)
	return n
}

// Judge compares what was sent with what the receivers have read, once linesplit is gone and they have nothing more to
// read.
func (s *Stage) Judge(m Metrics, duplicates Bound) {
	s.Helper()
	for _, sink := range s.Sinks {
		WaitFor(s.T, "the targets read to the end", func() bool { return sink.Open() == 0 })
	}
	r := s.Tally.Report(s.Sent)
	counted := max(m.Sum("linesplit_resent_lines_total"), s.Reported("resent_lines"))
	s.Logf("%s, resent as counted %.0f", r, counted)
	if err := r.Err(); err != nil {
		s.Errorf("%v: %s\n%s", err, r, r.Details())
	}
	switch {
	case duplicates == None && r.Duplicated > 0:
		s.Errorf("%d duplicates, want none (%.0f lines resent)\n%s\n%s", r.Duplicated, counted, r.Details(), m.Dump())
	case duplicates == Resent && float64(r.Duplicated) > counted:
		s.Errorf("%d duplicates, and only %.0f lines are counted as resent\n%s\n%s", r.Duplicated, counted, r.Details(), m.Dump())
	}
}

// Below checks a bound on memory. The race detector keeps memory of its own, so with it there is nothing to check.
func (s *Stage) Below(limit, got int64, what string) {
	s.Helper()
	s.Logf("%s: %d KiB, allowed are %d KiB (judged: %v)", what, got>>10, limit>>10, !Race)
	if got > limit && !Race {
		s.Errorf("%s: %d KiB, want at most %d KiB", what, got>>10, limit>>10)
	}
}

// Contains fails the test for each part that text lacks.
func Contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("lacks %q:\n%s", part, text)
		}
	}
}
