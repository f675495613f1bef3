package delivery

import (
	"bytes"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/target"
)

// failOut sends a line, lets the present connection fail, and connects again.
func (s *stage) failOut(err error) {
	s.t.Helper()
	s.send()
	s.out().told.Err = err
	s.pass(target.Tick)
	for range 1000 {
		if s.dialled != nil {
			s.connect()
			return
		}
		s.pass(target.Tick)
	}
	s.t.Fatal("no dial after a failure")
}

// A plain target whose peer expects TLS reset each connection, and nothing in the log said what
// that may mean.
func TestAdviceAfterResetsAtTheFirstBytes(t *testing.T) {
	onStage(t, 1, func(s *stage) {
		var logs bytes.Buffer
		s.m.logger = slog.New(slog.NewTextHandler(&logs, nil))
		advised := func(want bool, after string) {
			t.Helper()
			s.targets[0].logs.failed.Flush()
			if got := strings.Contains(logs.String(), "does it expect TLS"); got != want {
				t.Errorf("advice after %s: %v, want %v:\n%s", after, got, want, &logs)
			}
			logs.Reset()
			s.pass(time.Minute) // the log's limit begins anew, and the connection has lasted
		}
		s.failOut(syscall.ECONNRESET) // a connection that has lasted
		s.failOut(syscall.ECONNRESET)
		s.failOut(syscall.ECONNRESET)
		advised(false, "two resets at the first bytes")
		for range 4 {
			s.failOut(syscall.ECONNRESET)
		}
		advised(true, "three")
		for range 4 {
			s.failOut(syscall.ETIMEDOUT)
		}
		advised(false, "other errors")
	})
}
