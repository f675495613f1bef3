//go:build linux

package e2e

import (
	"testing"

	"linesplit/internal/testrig"
)

// Two real rsyslogds are killed and started again, one after the other. Each line is in one of
// their files, and only those go twice that had no response.
func TestRELPTargetsAreKilled(t *testing.T) {
	t.Parallel()
	a, b := testrig.StartRsyslog(t), testrig.StartRsyslog(t)
	s := testrig.NewStage(t)
	s.StartLineMode([]testrig.Target{a, b}, "-failback-probe", "200ms")
	s.StartSenders(2, testrig.SenderOptions{Rate: 2_000})
	for i := range 6 {
		s.WaitForMetric(float64(1_500*(i+1)), "linesplit_confirmed_lines_total")
		r := []*testrig.Rsyslog{a, b}[i%2]
		r.Kill()
		s.WaitForMetric(float64(1_500*(i+1)+500), "linesplit_confirmed_lines_total")
		r.Start()
	}
	s.StopSenders()
	s.WaitUntilConfirmed()
	m := s.WaitForLedger()
	s.Terminate(0)
	a.CountInto(s.Tally)
	b.CountInto(s.Tally)
	r := s.Tally.Report(s.Sent)
	if r.Lost+r.NeverSent+r.Corrupt > 0 {
		t.Errorf("%s\n%s", r, r.Details())
	}
	if resent := m.Sum("linesplit_resent_lines_total"); float64(r.Duplicated) > resent {
		t.Errorf("%s; only %.0f lines were sent again", r, resent)
	}
	if rejected := m.Sum("linesplit_rejected_lines_total"); rejected > 0 {
		t.Errorf("%.0f lines rejected", rejected)
	}
	t.Logf("%s; %.0f lines sent again", r, m.Sum("linesplit_resent_lines_total"))
}
