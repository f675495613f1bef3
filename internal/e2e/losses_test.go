//go:build linux

package e2e

import (
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// Lines that were dropped stood in no line of the log, and the account at the end left them out: an
// operator without -admin could not know that any were missing.
func TestDroppedLinesStandInTheLastLineOfTheLog(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"info", "error"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			sink := testrig.NewSink(t, testrig.NewTally(), testrig.SinkOptions{})
			p := testrig.StartProcess(t, testrig.ProcessOptions{
				Args:  []string{"-listen", "stdin:", "-max-line", "1KiB", "-target", sink.Target(), "-log-level", level},
				Stdin: strings.NewReader("whole\n" + strings.Repeat("x", 1999) + "\nwhole\n"),
			})
			if code := p.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			log := strings.Split(strings.TrimSpace(p.Stderr()), "\n")
			last := log[len(log)-1]
			testrig.ExpectContains(t, last, `msg="drain ended"`, "received_lines=3", "confirmed_lines=2",
				"dropped_lines.oversize=1", "dropped_bytes.oversize=2000")
			if level == "error" {
				testrig.ExpectContains(t, last, "level=ERROR")
				return
			}
			testrig.ExpectContains(t, last, "level=WARN")
			testrig.ExpectContains(t, p.Stderr(), `level=WARN msg="lines dropped" reason=oversize lines=1 bytes=2000`)
		})
	}
}
