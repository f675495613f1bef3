//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/relp"
	"linesplit/internal/testrig"
)

// relpClient sends lines in sessions, one after the other, until each has a response.
type relpClient struct {
	addr     string
	left     [][]byte // lines without a response
	answered atomic.Int64
	again    int // lines that were sent in more than one session, each time they were
}

// send sends what is left.
func (c *relpClient) send() {
	for len(c.left) > 0 {
		if err := c.session(); err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// session sends what is left until the session breaks or all has its response.
func (c *relpClient) session() error {
	const window = 128
	nc, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	in := relp.NewReader(bufio.NewReader(nc), 64<<10)
	out := relp.Append(nil, 1, relp.Open, relp.Offer{Commands: []string{relp.Syslog}}.Append(nil))
	for next, sent, oldest := uint32(2), 0, uint32(1); ; {
		for sent < min(window, len(c.left)) {
			out = relp.Append(out, next, relp.Syslog, c.left[sent])
			next = relp.Next(next)
			sent++
		}
		if _, err := nc.Write(out); err != nil {
			c.again += sent
			return err
		}
		out = out[:0]
		f, err := in.Next()
		if err != nil || f.Command == relp.ServerClose {
			c.again += sent
			return errors.Join(err, net.ErrClosed)
		}
		response, err := relp.ParseResponse(f.Data)
		if err != nil || response.Status != relp.OK || f.Number != oldest {
			return errors.New("not a response to the oldest frame")
		}
		if oldest++; oldest > 2 {
			c.left, sent = c.left[1:], sent-1
			c.answered.Add(1)
		}
		if len(c.left) == 0 {
			return nil
		}
	}
}

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
			var clients [3]relpClient
			var sending sync.WaitGroup
			for i := range clients {
				c := &clients[i]
				c.addr = string(at)
				c.left = bytes.Split(bytes.TrimSuffix(s.NumberedLines(8_000, 100), []byte{'\n'}), []byte{'\n'})
				sending.Go(c.send)
			}
			for i := range 6 {
				if i == 3 {
					a.Pause() // lines that no target has confirmed count, too
				}
				before := clients[0].answered.Load()
				testrig.WaitFor(t, "some responses", func() bool { return clients[0].answered.Load() >= min(before+1000, 8_000) })
				s.kill()
				s.start()
			}
			a.Resume()
			sending.Wait()
			s.WaitForAllLines()
			s.waitUntilEmpty()
			s.Terminate(0)
			r := s.Tally.Report(s.Sent)
			t.Logf("%d, %d and %d lines sent again; %s", clients[0].again, clients[1].again, clients[2].again, r)
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
