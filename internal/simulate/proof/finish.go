package proof

import (
	"fmt"
	"strings"
	"time"

	"linesplit/internal/simulate/tally"
)

// finish ends everything in the order in which lines go, and returns the account.
func (s *stage) finish() Result {
	if s.ctx.Err() != nil { // nobody waits for anything
		for _, p := range s.proxies {
			s.endProxy(p)
		}
	}
	s.restore()
	s.endSenders()
	for _, conn := range s.byHand {
		conn.Close()
	}
	s.settle()
	for _, p := range s.proxies {
		s.endProxy(p)
	}
	s.endTargets()
	return s.account()
}

// restore gives a proxy its targets back where a scenario broke off, or all that it still has would seem lost.
func (s *stage) restore() {
	if !s.failed() || s.ctx.Err() != nil || s.island != nil {
		return
	}
	for _, t := range s.targets {
		t.Resume()
		t.Restart() // where that fails, there is an error already
	}
}

// settle waits until every line has been read, or no more come.
func (s *stage) settle() {
	last, since := s.bytes(), time.Now()
	for len(s.targets) > 0 && !s.has(s.sent) && s.ctx.Err() == nil && time.Since(since) < s.o.quiet {
		time.Sleep(lookEvery)
		s.look()
		if now := s.bytes(); now != last {
			last, since = now, time.Now()
		}
	}
	s.look()
}

// bytes is how many all targets have read: a long line takes its time.
func (s *stage) bytes() (n uint64) {
	for _, t := range s.targets {
		n += t.Bytes()
	}
	return n
}

// endProxy lets a proxy end in order. What it still holds goes to the targets, or is lost.
func (s *stage) endProxy(p *proxy) {
	if p == nil {
		return
	}
	if s.ctx.Err() != nil {
		p.kill()
		return
	}
	if p.ended() { // nobody has told it to
		p.kill()
		s.fail(Failed, "the proxy has ended: %s", p.said)
		return
	}
	p.terminate()
	s.judgeExit(p)
}

// terminate tells a proxy to end, and takes it from its place.
func (s *stage) terminate(i int) *proxy {
	p := s.proxies[i]
	s.proxies[i] = nil
	p.terminate()
	return p
}

// judgeExit waits for the end of a proxy that was told to end. What its exit code says is for linesplit alone to be judged by.
func (s *stage) judgeExit(p *proxy) {
	for end := time.Now().Add(stopLimit); !p.ended() && s.ctx.Err() == nil && time.Now().Before(end); s.look() {
		time.Sleep(lookEvery)
	}
	code := p.end()
	if s.o.Own && code != 0 {
		s.fail(Failed, "linesplit ended with exit code %d: %s", code, p.said)
	}
}

// endTargets lets targets read to the end of what is in their connections.
func (s *stage) endTargets() {
	if s.between != nil { // it has nobody in front of it any more
		s.awaitClosed()
		s.between.kill()
	}
	s.awaitClosed()
	for _, t := range s.targets {
		t.Exit()
	}
	if s.island != nil {
		s.island.close()
	}
}

func (s *stage) awaitClosed() {
	for end := time.Now().Add(farewell); s.connected() && s.ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(lookEvery)
	}
}

// connected says whether a target has connections.
func (s *stage) connected() bool {
	for _, t := range s.targets {
		if t.Open() > 0 {
			return true
		}
	}
	return false
}

// account compares what was sent with what has been read.
func (s *stage) account() Result {
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
	r.Sent = report.Sent
	r.ReceivedOnce = report.Sent - report.Lost
	r.Lost = report.Lost
	r.Duplicated = report.Duplicated
	r.Corrupt = report.Corrupt - min(report.Corrupt, s.strange) + report.Torn + report.NeverSent + report.Untracked
	switch {
	case r.Lost > 0:
		r.Verdict = Lost
	case r.Corrupt > 0:
		r.Verdict = Corrupt
	}
	r.Recovery, r.PeakMemory = s.recoverySeconds(), s.peakMemory()
	if r.Corrupt > 0 {
		notes = append(notes, corruption(report)...)
	}
	r.Note = strings.Join(notes, "\n")
	return r
}

// recoverySeconds is null where a mark was never reached.
func (s *stage) recoverySeconds() *float64 {
	if !s.measured || len(s.marks) > 0 {
		return nil
	}
	seconds := s.recovery.Seconds()
	return &seconds
}

func (s *stage) peakMemory() *int64 {
	bytes := s.peak.most()
	if bytes == 0 {
		return nil
	}
	return &bytes
}

// corruption says what is wrong with lines that came.
func corruption(r tally.Report) (notes []string) {
	for _, kind := range []struct {
		lines uint64
		what  string
	}{
		{r.Corrupt, "altered, glued, or too long"},
		{r.Torn, "without a newline before the end of their connection"},
		{r.NeverSent, "never sent"},
		{r.Untracked, "too many to be accounted for"},
	} {
		if kind.lines > 0 {
			notes = append(notes, fmt.Sprintf("lines %s: %d", kind.what, kind.lines))
		}
	}
	return append(notes, r.Samples[:min(len(r.Samples), shownSamples)]...)
}

// shownSamples is how many bad lines a note shows.
const shownSamples = 3
