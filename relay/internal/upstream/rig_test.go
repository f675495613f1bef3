package upstream

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newTarget(t testing.TB, address string) *target.Target {
	t.Helper()
	a, err := target.ParseAddress(address, false)
	must(t, err)
	return target.New(a, nil)
}

func settings(t traffic.Tuning) *traffic.Settings {
	s := &traffic.Settings{}
	s.Store(t)
	return s
}

// newTestSet returns Backends that have no connections to expel.
func newTestSet(o Options) *Backends {
	if o.Settings == nil {
		o.Settings = settings(traffic.Tuning{})
	}
	o.Expel = func(*Backend) {}
	o.Logger = slog.New(slog.DiscardHandler)
	return New(o)
}

// statsOf returns the stats of a target, or none if it does not exist.
func (s *Backends) statsOf(name string) TargetStats {
	all, _, _ := s.Stats()
	for _, t := range all {
		if t.Name == name {
			return t
		}
	}
	return TargetStats{}
}

func (s *Backends) names() (names []string) {
	all, _, _ := s.Stats()
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names
}

func (s *Backends) balanceName() string {
	_, _, name := s.Stats()
	return name
}
