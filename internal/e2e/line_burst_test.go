//go:build linux

package e2e

import (
	"io"
	"net"
	"path/filepath"
	"testing"

	"linesplit/internal/testrig"
)

// dialOver returns a function that dials the listener of a stage's linesplit.
func dialOver(network string) func(s *testrig.Stage) io.WriteCloser {
	return func(s *testrig.Stage) io.WriteCloser {
		var d net.Dialer
		conn, err := d.DialContext(s.Context(), network, s.Process.Listeners[0])
		if err != nil {
			s.Fatal(err)
		}
		return conn
	}
}

// A hundred lines that are written at once to a linesplit at rest reach all targets, about evenly.
// Each kind of connection is read in its own way, and sometimes by more than one read.
func TestShortBurstReachesAllTargets(t *testing.T) {
	t.Parallel()
	const lines, size = 100, 64
	path := filepath.Join(t.TempDir(), "in.sock")
	unixIn := []string{"-listen", "unix://" + path}
	for _, tc := range []struct {
		name string
		args []string
		dial func(s *testrig.Stage) io.WriteCloser
	}{
		{"event loop, TCP", nil, dialOver("tcp")},
		{"event loop, Unix", unixIn, dialOver("unix")},
		{"goroutine, TCP", []string{"-loops", "0"}, dialOver("tcp")},
		{"goroutine, Unix", append(unixIn, "-loops", "0"), dialOver("unix")},
		{"UDP", udpArgs, dialOver("udp")},
		{"TLS", testrig.TLSListenerArgs(), func(s *testrig.Stage) io.WriteCloser {
			conn, err := testrig.Dial("tcp", s.Process.Listeners[0], testrig.ClientTLS())
			if err != nil {
				s.Fatal(err)
			}
			return conn
		}},
		{"standard input", []string{"-listen", "stdin:"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := testrig.NewStage(t)
			var targets []testrig.Target
			for range 3 {
				targets = append(targets, s.StartSink(testrig.SinkOptions{}))
			}
			o := testrig.NewProcessOptions(targets, tc.args...)
			var in io.WriteCloser
			if tc.dial == nil {
				o.Stdin, in = io.Pipe()
			}
			s.Process = testrig.StartProcess(t, o)
			s.Baseline = testrig.WaitForUsage(t, s.Process, 4*len(targets))
			if tc.dial != nil {
				in = tc.dial(s)
			}
			defer in.Close()
			if _, err := in.Write(s.NumberedLines(lines, size)); err != nil {
				t.Fatal(err)
			}
			s.WaitForAllLines()
			for i, sink := range s.Sinks {
				if n := sink.Lines(); n < lines/5 {
					t.Errorf("target %d got %d of %d lines", i, n, lines)
				}
			}
		})
	}
}
