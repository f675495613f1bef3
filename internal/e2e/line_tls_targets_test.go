//go:build linux

package e2e

import (
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// A TLS target stops after the first line of a record and closes its connection in order. Its
// kernel has nothing unread, but its TLS holds the other lines: under heavy load, targets that
// closed so lost up to a record of lines.
func TestTLSTargetThatClosesBetweenLinesLosesNothing(t *testing.T) {
	t.Parallel()
	for _, lookup := range []string{"auto", "off"} {
		for name, version := range testrig.TLSVersions {
			t.Run(name+", lookup "+lookup, func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				slow := testrig.Drip
				slow.Chunk = 50 // bytes
				o := testrig.SinkOptions{TLS: testrig.ServerTLS(version), Behaviour: slow}
				sink := s.StartSink(o)
				s.StartLineMode([]testrig.Target{sink}, append(testrig.TargetArgs(o), "-connections", "1",
					"-peer-lookup", lookup)...)
				time.Sleep(testrig.FINAge)
				conn := s.Dial()
				s.Write(conn, s.NumberedLines(100, 150))
				s.WaitForLines(sink, 1)
				if unread := sink.CloseUnread(0); unread > 0 {
					t.Logf("%d bytes were left in the kernel", unread) // then a RST is no surprise
				}
				sink.Behave(testrig.Steady)
				sink.Listen()
				conn.Close()
				s.FinishLineMode(testrig.OnlyResent)
			})
		}
	}
}
