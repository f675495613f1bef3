//go:build linux

package e2e

import (
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// withOptions is a target's address with options.
type withOptions struct {
	to      testrig.Target
	options string
}

func (t withOptions) Target() string { return t.to.Target() + "?" + t.options }

// The primaries crash one after the other, and come back: the backup gets lines only in between,
// and nothing is lost.
func TestBackupServesOnlyWhileOthersAreDown(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	backup := s.StartSink(testrig.SinkOptions{})
	targets := []testrig.Target{a, b, withOptions{backup, "backup=true"}}
	s.Process = s.StartLinesplit(targets, "-connections", "2", "-failback-probe", "100ms")
	s.Baseline = testrig.WaitForUsage(s.T, s.Process, 4)
	s.StartSenders(2, testrig.SteadySender())
	for range 2 {
		s.WaitForLines(a, 200)
		s.WaitForLines(b, 200)
		before := backup.Accepted()
		a.Crash(0)
		s.WaitForLines(b, 200)
		if n := backup.Accepted(); n != before {
			t.Errorf("the backup was dialled %d times while a target was up", n-before)
		}
		b.Crash(0)
		s.WaitForLines(backup, 400)
		a.Listen()
		s.WaitForLines(a, 200)
		testrig.WaitFor(t, "the backup is left", func() bool { return backup.Open() == 0 })
		b.Listen()
	}
	s.WaitForLines(b, 200)
	s.StopSenders()
	s.FinishLineMode(testrig.OnlyResent)
}

// Connections follow the weights, and a change of weights moves some of them in order.
func TestWeightsInLineMode(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	o := newOperator(s)
	a, b, own := s.StartSink(testrig.SinkOptions{}), s.StartSink(testrig.SinkOptions{}), s.StartSink(testrig.SinkOptions{})
	targets := []testrig.Target{withOptions{a, "weight=100"}, withOptions{b, "weight=300"}, withOptions{own, "connections=1"}}
	s.Process = s.StartLinesplit(targets, "-connections", "2", "-admin-token-file", o.token)
	s.Baseline = testrig.WaitForUsage(s.T, s.Process, 5)
	o.connect()
	want := func(na, nb float64) {
		t.Helper()
		testrig.WaitFor(t, "the connections follow the weights", func() bool {
			m := s.Process.Metrics()
			of := func(sink *testrig.Sink) float64 {
				return m.Sum("linesplit_target_connections", "target", sink.Target())
			}
			return of(a) == na && of(b) == nb && of(own) == 1
		})
	}
	s.StartSenders(2, testrig.SteadySender())
	want(1, 3)
	time.Sleep(testrig.FINAge)
	for _, sink := range []*testrig.Sink{a, b} {
		o.do("weight", sink.Target(), "300")
		o.do("weight", sink.Target(), "900")
		want(map[*testrig.Sink]float64{a: 3, b: 2}[sink], map[*testrig.Sink]float64{a: 1, b: 2}[sink])
		s.WaitForLines(s.Tally, 400)
	}
	if _, err := o.try("weight", own.Target(), "2"); err == nil {
		t.Error("a target with its own number of connections got a weight")
	}
	o.client.Close()
	s.StopSenders()
	s.FinishLineMode(testrig.NoDuplicates)
}
