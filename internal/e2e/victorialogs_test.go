//go:build linux

package e2e

import (
	"strconv"
	"testing"

	"linesplit/internal/testrig"
)

// webAddress is the address of a target.
type webAddress string

func (a webAddress) Target() string { return string(a) }

// A real server that is restarted in order gets all lines. It recognizes neither batches nor
// documents, so that it may have as many twice as linesplit has sent again.
func TestVictoriaLogs(t *testing.T) {
	for name, target := range map[string]func(*testrig.VictoriaLogs) string{
		"lines": (*testrig.VictoriaLogs).JSONLines, "bulk": (*testrig.VictoriaLogs).Bulk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := testrig.StartVictoriaLogs(t)
			s := testrig.NewStage(t)
			s.StartLineMode([]testrig.Target{webAddress(target(v) + "&batch-bytes=64KiB&compress=zstd")})
			s.StartSenders(2, testrig.SenderOptions{Rate: 2_000})
			for i := range 3 {
				s.WaitForMetric(float64(2_000*(i+1)), "linesplit_confirmed_lines_total")
				v.Stop()
				v.Start()
			}
			s.StopSenders()
			s.WaitUntilConfirmed()
			m := s.WaitForLedger()
			s.Terminate(0)
			v.Stop() // a query may miss what is not on disk
			v.Start()
			all, different := v.Count()
			resent, n := int(m.Sum("linesplit_resent_lines_total")), s.Sent.Lines()
			t.Logf("%d lines sent, %s arrived, %s different ones, %d counted as resent", n, all, different, resent)
			if got, _ := strconv.Atoi(all); different != strconv.Itoa(n) || got > n+resent {
				t.Errorf("sent %d lines: %s arrived, %s different ones; %d were sent again", n, all, different, resent)
			}
			if rejected := m.Sum("linesplit_rejected_lines_total"); rejected > 0 {
				t.Errorf("%.0f lines rejected", rejected)
			}
		})
	}
}
