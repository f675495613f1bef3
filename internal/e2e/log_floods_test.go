//go:build linux

package e2e

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// mostLogged is how many lines of log one kind of fault may cause, however often it happens.
const mostLogged = 30

// logLines counts the lines that linesplit has logged so far.
func logLines(s *testrig.Stage) int { return strings.Count(s.Process.Stderr(), "\n") }

// wantFewLines checks how many lines have been logged since there were before of them. The process
// ends first, so that what the log holds back is counted too.
func wantFewLines(s *testrig.Stage, before int) {
	s.Helper()
	s.Process.Terminate()
	if n := logLines(s) - before; n > mostLogged {
		s.Errorf("%d lines of log, want at most %d; the last ones:\n%s", n, mostLogged, s.Process.LastLines(8))
	}
}

// A stranger who connects in a loop at the connection limit made 54,243 lines of log in 2 s.
func TestChurnAtTheLimitDoesNotFloodTheLog(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"line", "connection"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Discard})
			s.Process = s.StartLinesplit([]testrig.Target{server}, "-mode", mode, "-max-connections", "1")
			before := logLines(s)
			for range 1000 {
				if conn, err := net.Dial("tcp", s.Process.Listeners[0]); err == nil { // else it has been reset already
					conn.Close()
				}
			}
			s.WaitForMetric(1000, "linesplit_connections_accepted_total")
			wantFewLines(s, before)
		})
	}
}

// Twenty clients of /metrics that went before they had read the answer made 976 lines of log.
func TestAbortedScrapesDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	s.Process = s.StartLinesplit([]testrig.Target{testrig.FreeHostPort(t)})
	before := logLines(s)
	for range 20 {
		conn, err := net.Dial("tcp", s.Process.Admin)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
		testrig.ResetConn(conn)
	}
	s.Process.Metrics() // a whole answer comes after them
	wantFewLines(s, before)
}

// A target that resets every connection made 35 lines of log a second with 256 workers: each time
// it was down and up again.
func TestTargetThatResetsInALoopDoesNotFloodTheLog(t *testing.T) {
	t.Parallel()
	ln, err := testrig.ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const failures = 300
	enough := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			testrig.ResetConn(conn)
			if n == failures {
				close(enough)
			}
		}
	}()
	s := testrig.NewStage(t)
	s.Process = s.StartLinesplit([]testrig.Target{testrig.HostPort(ln.Addr().String())}, "-connections", "64", "-drain-timeout", "100ms")
	before := logLines(s)
	conn := s.Dial()
	go func() {
		for { // until linesplit ends
			if _, err := io.WriteString(conn, strings.Repeat("a line\n", 100)); err != nil {
				return
			}
		}
	}()
	select {
	case <-enough:
	case <-time.After(testrig.Patience):
		t.Fatal("the target has no connections to reset")
	}
	wantFewLines(s, before)
}
