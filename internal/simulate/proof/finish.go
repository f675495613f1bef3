package proof

import (
	"fmt"
	"strings"
	"time"

	"linesplit/internal/simulate/tally"
)

// finish ends everything in the direction in which lines flow, and returns the result.
func (s *stage) finish() Result {
	if s.ctx.Err() != nil { // interrupted: waits for nothing
		for _, p := range s.proxies {
			s.endProxy(p)
		}
	}
	s.restoreTargets()
	s.endSenders()
	s.endRELPSenders()
	for _, conn := range s.manualConns {
		conn.Close()
	}
	s.awaitQuiet()
	for _, p := range s.proxies {
		s.endProxy(p)
	}
	s.endTargets()
	return s.result()
}

// restoreTargets makes the targets available again after a scenario that broke off. Otherwise the
// lines that the proxy still holds would seem lost.
func (s *stage) restoreTargets() {
	if !s.failed() || s.ctx.Err() != nil || s.netns != nil {
		return
	}
	for _, t := range s.acking {
		t.Fail(0)
		t.Listen() // fails if it listens
	}
	for _, t := range s.targets {
		t.Resume()
		t.Restart() // after a failure there is an error already
	}
}

// awaitQuiet waits until every line has been read, or no more arrive.
func (s *stage) awaitQuiet() {
	last, since := s.bytesRead(), time.Now()
	for len(s.targets)+len(s.acking) > 0 && !s.allRead(s.sent) && s.ctx.Err() == nil && time.Since(since) < s.o.quiet {
		time.Sleep(pollEvery)
		s.poll()
		if now := s.bytesRead(); now != last {
			last, since = now, time.Now()
		}
	}
	s.poll()
}

// bytesRead returns how many bytes all targets have read. It grows during a long line, while the
// number of lines does not.
func (s *stage) bytesRead() (n uint64) {
	for _, t := range s.acking {
		n += t.Bytes()
	}
	for _, t := range s.targets {
		n += t.Bytes()
	}
	return n
}

// endProxy ends a proxy in an orderly way. Lines that it still holds must reach the targets.
func (s *stage) endProxy(p *proxy) {
	if p == nil {
		return
	}
	if s.ctx.Err() != nil {
		p.kill()
		return
	}
	if p.ended() { // it ended on its own
		p.kill()
		s.fail(Failed, "the proxy ended unexpectedly: %s", p.output)
		return
	}
	p.terminate()
	s.checkExit(p)
}

// terminate sends SIGTERM to proxy number i, and removes it from its place.
func (s *stage) terminate(i int) *proxy {
	p := s.proxies[i]
	s.proxies[i] = nil
	p.terminate()
	return p
}

// kill kills proxy number i, and removes it from its place.
func (s *stage) kill(i int) {
	p := s.proxies[i]
	s.proxies[i] = nil
	p.kill()
}

// checkExit waits for the end of a proxy that was told to end. Only linesplit is held to its exit
// code.
func (s *stage) checkExit(p *proxy) {
	for end := time.Now().Add(stopLimit); !p.ended() && s.ctx.Err() == nil && time.Now().Before(end); s.poll() {
		time.Sleep(pollEvery)
	}
	code := p.end()
	if s.o.Own && code != 0 {
		s.fail(Failed, "linesplit ended with exit code %d: %s", code, p.output)
	}
}

// endTargets lets targets read to the end of their connections, and then ends them.
func (s *stage) endTargets() {
	if s.haproxy != nil { // the proxy in front of it has ended
		s.awaitClosed()
		s.haproxy.kill()
	}
	s.awaitClosed()
	for _, t := range s.targets {
		t.Exit()
	}
	for _, t := range s.acking {
		t.Stop()
	}
	if s.netns != nil {
		s.netns.close()
	}
}

func (s *stage) awaitClosed() {
	for end := time.Now().Add(drainLimit); s.anyOpen() && s.ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(pollEvery)
	}
}

// anyOpen reports whether a target has open connections.
func (s *stage) anyOpen() bool {
	for _, t := range s.targets {
		if t.Open() > 0 {
			return true
		}
	}
	return false
}

// result compares what was sent with what has been read.
func (s *stage) result() Result {
	r := Result{Scenario: s.name, Verdict: s.verdict, Staged: s.staged}
	var notes []string
	if s.err != nil {
		notes = append(notes, s.err.Error())
	}
	if s.ctx.Err() != nil {
		r.Verdict = Cancelled
	}
	if r.Verdict == Skipped || r.Verdict == Cancelled {
		r.Note = strings.Join(notes, "\n")
		return r
	}
	report := s.tally.Report(s.sent)
	report.Corrupt -= min(report.Corrupt, s.foreignAllowed)
	report.Torn -= min(report.Torn, s.cutOff)
	r.Sent = report.Sent
	r.ReceivedOnce = report.Sent - report.Lost
	r.Lost = report.Lost
	r.Duplicated = report.Duplicated
	r.Corrupt = report.Corrupt + report.Torn + report.NeverSent + report.Untracked
	excused, note := s.judgeKills(report)
	if r.Excused = excused; note != "" {
		notes = append(notes, note)
	}
	switch {
	case r.Lost > r.Excused:
		r.Verdict = Lost
	case r.Corrupt > 0:
		r.Verdict = Corrupt
	case s.setup.web && r.Duplicated > 0:
		r.Verdict = Failed
		notes = append(notes, "lines that the target had taken came under other IDs")
	}
	r.Recovery, r.PeakMemory = s.recoverySeconds(), s.peakMemory()
	if r.Corrupt > 0 {
		notes = append(notes, corruption(report)...)
	}
	r.Note = strings.Join(notes, "\n")
	return r
}

// recoverySeconds returns nil if some lines of the recovery were never read.
func (s *stage) recoverySeconds() *float64 {
	if !s.measured || len(s.checkpoints) > 0 {
		return nil
	}
	seconds := s.recovery.Seconds()
	return &seconds
}

func (s *stage) peakMemory() *int64 {
	bytes := s.peak.max()
	if bytes == 0 {
		return nil
	}
	return &bytes
}

// corruption describes what is wrong with lines that arrived.
func corruption(r tally.Report) (notes []string) {
	for _, kind := range []struct {
		lines uint64
		what  string
	}{
		{r.Corrupt, "altered, glued, or too long"},
		{r.Torn, "without a newline before the end of their connection"},
		{r.NeverSent, "never sent"},
		{r.Untracked, "too many to track"},
	} {
		if kind.lines > 0 {
			notes = append(notes, fmt.Sprintf("lines %s: %d", kind.what, kind.lines))
		}
	}
	return append(notes, r.Samples[:min(len(r.Samples), shownSamples)]...)
}

// shownSamples is the number of bad lines in a note.
const shownSamples = 3
