//go:build linux

package e2e

import (
	"bytes"
	"testing"

	"linesplit/internal/simulate/relppeer"
	"linesplit/internal/testrig"
)

// What has its response is in the spool when linesplit is killed, or at a target.
func TestKilledBetweenResponses(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"any order": nil, "keys": {"-key", "field:1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := testrig.FreeHostPort(t)
			s := newSyncedStage(t, "relp://"+string(at), args...)
			a, _ := s.StartTwoSinks()
			s.start()
			var clients []*relppeer.Client
			for range 3 {
				c := relppeer.Start(string(at))
				t.Cleanup(c.Close)
				c.Add(bytes.Split(bytes.TrimSuffix(s.NumberedLines(8_000, 100), []byte{'\n'}), []byte{'\n'})...)
				clients = append(clients, c)
			}
			for i := range 6 {
				if i == 3 {
					a.Pause() // lines that no target has confirmed count, too
				}
				before := clients[0].Answered()
				testrig.WaitFor(t, "some responses", func() bool { return clients[0].Answered() >= min(before+1000, 8_000) })
				s.kill()
				s.start()
			}
			a.Resume()
			for _, c := range clients {
				c.End()
				t.Logf("%d lines sent again", c.Repeated())
			}
			s.WaitForAllLines()
			s.waitUntilEmpty()
			s.Terminate(0)
			r := s.Tally.Report(s.Sent)
			t.Log(r)
			if r.Lost > 0 || r.Corrupt > s.broken() {
				t.Errorf("%s\n%s", r, r.Details())
			}
		})
	}
}

// rsyslogd sends a file over RELP to linesplit, and this to two plain targets. linesplit and the
// targets are killed again and again: no line is lost. rsyslogd itself goes on: it loses lines of
// its own queue when it is killed, and did so once when it was restarted.
func TestRsyslogThroughKills(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"any order": nil, "keys": {"-key", "field:1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := testrig.FreeHostPort(t)
			s := newSyncedStage(t, "relp://"+string(at), args...)
			a, b := s.StartTwoSinks()
			s.start()
			c := testrig.StartRsyslogClient(t, at)
			for i := range 6 {
				c.Write(s.NumberedLines(1000, 100))
				s.WaitForLines(s.Tally, 300)
				if i%3 < 2 {
					sink := []*testrig.Sink{a, b}[i%3]
					sink.Crash(0)
					sink.Listen()
				}
				s.kill()
				s.start()
			}
			s.WaitForAllLines()
			s.waitUntilEmpty()
			s.Terminate(0)
			r := s.Tally.Report(s.Sent)
			t.Log(r)
			if r.Lost > 0 || r.Corrupt > s.broken() {
				t.Errorf("%s\n%s\nrsyslogd: %s", r, r.Details(), c.Log())
			}
		})
	}
}

// Without kills of linesplit, restarts of it lose and repeat nothing: rsyslogd gets its responses
// before the end.
func TestRsyslogThroughRestarts(t *testing.T) {
	t.Parallel()
	at := testrig.FreeHostPort(t)
	s := testrig.NewStage(t)
	s.StartTwoSinks()
	start := func() {
		s.Process = s.StartLinesplit([]testrig.Target{s.Sinks[0], s.Sinks[1]}, "-listen", "relp://"+string(at))
	}
	start()
	c := testrig.StartRsyslogClient(t, at)
	for range 4 {
		c.Write(s.NumberedLines(1000, 100))
		s.WaitForLines(s.Tally, 300)
		s.Terminate(0)
		start()
	}
	s.WaitForAllLines()
	s.Terminate(0)
	if r := s.Tally.Report(s.Sent); r.Err() != nil || r.Duplicated > 0 {
		t.Errorf("%s\n%s\nrsyslogd: %s", r, r.Details(), c.Log())
	}
}
