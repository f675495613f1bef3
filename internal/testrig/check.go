//go:build linux

package testrig

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// WaitForAllLines waits until receiving applications have read every line that was sent.
func (s *Stage) WaitForAllLines() {
	s.Helper()
	if Poll(Patience, func() bool { return s.Tally.HasAll(s.Sent) }) {
		return
	}
	r := s.Tally.Report(s.Sent)
	m, _ := s.Process.Scrape() // without metrics, the rest is still worth reporting
	s.Fatalf("lines are missing: %s\n%s\n%s", r, r.Details(), m.Dump())
}

// DuplicateLimit is the limit of duplicates in a test.
type DuplicateLimit int

const (
	NoDuplicates DuplicateLimit = iota // each line arrives once
	OnlyResent                         // at most as many as linesplit counts as resent
)

// FinishLineMode ends most tests of line mode. Every line must arrive whole, the ledger must
// balance, nothing may be left behind, and linesplit must answer SIGTERM with exit code 0. The
// targets may have read no more duplicates than the limit allows.
func (s *Stage) FinishLineMode(limit DuplicateLimit) {
	s.Helper()
	s.WaitForAllLines()
	s.CheckLeaks()
	m := s.WaitForLedger()
	if got, want := m.Sum("linesplit_received_lines_total"), s.Sent.Lines()+s.OtherLines; got != float64(want) {
		s.Errorf("linesplit counts %.0f lines received, the senders wrote %d", got, want)
	}
	s.Terminate(0)
	s.CheckDelivery(m, limit)
}

// WaitForLedger waits until the ledger balances and does not change, and returns the metrics of
// that moment.
func (s *Stage) WaitForLedger() (m Metrics) {
	s.Helper()
	var before, now [2]Ledger
	quiet := Poll(Patience, func() bool {
		m = s.Process.Metrics()
		before, now = now, [2]Ledger{m.Ledger("lines"), m.Ledger("bytes")}
		return now == before && now[0].Holds() && now[1].Holds()
	})
	if !quiet {
		s.Errorf("the ledger does not balance:\n%s\n%s\n%s", now[0], now[1], m.Dump())
	}
	return m
}

// CheckLeaks checks that linesplit comes to hold no more than when it started. All clients must
// have closed their connections.
func (s *Stage) CheckLeaks() {
	s.Helper()
	var now Usage
	if Poll(Patience, func() bool { now = usageOf(s.Process.Metrics()); return now.within(s.Baseline) }) {
		return
	}
	m := s.Process.Metrics()
	s.Fatalf("left behind: %v goroutines (%v at the start), %v descriptors (%v at the start)\n%s\n%s", now.goroutines,
		s.Baseline.goroutines, now.descriptors, s.Baseline.descriptors, m.Dump(), s.Process.DumpGoroutines())
}

// Terminate sends SIGTERM and checks the exit code.
func (s *Stage) Terminate(want int) {
	s.Helper()
	if code := s.Process.Terminate(); code != want {
		s.Errorf("exit code %d, want %d", code, want)
	}
}

// Usage counts what a process could leak.
type Usage struct{ goroutines, descriptors float64 }

func (u Usage) within(limit Usage) bool {
	return u.goroutines <= limit.goroutines && u.descriptors <= limit.descriptors
}

// WithWaiting returns the usage of a linesplit in connection mode whose listeners may keep
// goroutines that wait for the next client.
func (u Usage) WithWaiting(listeners int) Usage {
	const maxWaiting = 32 // of each listener
	u.goroutines += float64(maxWaiting * listeners)
	return u
}

// WithRequests returns the usage of a linesplit that has made HTTP requests over so many
// connections to targets, and keeps them open.
func (u Usage) WithRequests(connections int) Usage {
	u.goroutines += float64(2 * connections) // of package net/http
	return u
}

func usageOf(m Metrics) Usage {
	return Usage{m.Sum("go_goroutines"), m.Sum("process_open_fds")}
}

// WaitForUsage waits until so many connections to targets are open and the usage does not change,
// and returns the usage.
func WaitForUsage(t *testing.T, p *Process, conns int) Usage {
	t.Helper()
	var now, before Usage
	WaitFor(t, fmt.Sprintf("%d connections to targets", conns), func() bool {
		m := p.Metrics()
		before, now = now, usageOf(m)
		return m.Sum("linesplit_target_connections") == float64(conns) && now == before
	})
	return now
}

// StopAtOnce ends the drain that has begun: it sends SIGTERM until linesplit no longer takes it for
// a repetition of the signal before.
func (s *Stage) StopAtOnce() {
	s.Helper()
	WaitFor(s, "the drain ends at once", func() bool {
		if s.Process.Ended() || s.CountLogLines("stopping at once") > 0 {
			return true
		}
		s.Process.Signal(syscall.SIGTERM)
		return false
	})
}

// DrainReport returns the line of the log that reports how the drain ended.
func (s *Stage) DrainReport() string {
	for line := range strings.Lines(s.Process.Stderr()) {
		if strings.Contains(line, `msg="drain ended"`) {
			return line
		}
	}
	return "(no report)"
}

// drainCount returns a number in that line. It includes what happened during the drain, after the
// last scrape.
func (s *Stage) drainCount(key string) (n float64) {
	_, rest, _ := strings.Cut(s.DrainReport(), key+"=")
	fmt.Sscan(rest, &n)
	return n
}

// CheckDelivery compares what was sent with what the targets have read. Linesplit must have ended.
func (s *Stage) CheckDelivery(m Metrics, limit DuplicateLimit) {
	s.Helper()
	for _, sink := range s.Sinks {
		WaitFor(s.T, "the targets read to the end", func() bool { return sink.Open() == 0 })
	}
	r := s.Tally.Report(s.Sent)
	resent := max(m.Sum("linesplit_resent_lines_total"), s.drainCount("resent_lines"))
	s.Logf("%s, counted as resent %.0f", r, resent)
	if err := r.Err(); err != nil {
		s.Errorf("%v: %s\n%s", err, r, r.Details())
	}
	switch {
	case limit == NoDuplicates && r.Duplicated > 0:
		s.Errorf("%d duplicates, want none (%.0f lines resent)\n%s\n%s", r.Duplicated, resent, r.Details(), m.Dump())
	case limit == OnlyResent && float64(r.Duplicated) > resent:
		s.Errorf("%d duplicates, but only %.0f lines are counted as resent\n%s\n%s", r.Duplicated, resent,
			r.Details(), m.Dump())
	}
}

// CheckMemory checks a limit in bytes. The race detector takes memory of its own, so with it the
// limit does not apply.
func (s *Stage) CheckMemory(limit, got int64, what string) {
	s.Helper()
	s.Logf("%s: %d KiB, limit %d KiB (applies: %v)", what, got>>10, limit>>10, !Race)
	if got > limit && !Race {
		s.Errorf("%s: %d KiB, want at most %d KiB", what, got>>10, limit>>10)
	}
}

// ExpectContains fails the test for each part that text lacks.
func ExpectContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("lacks %q:\n%s", part, text)
		}
	}
}
