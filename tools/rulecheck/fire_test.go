package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// minutes is the duration of a scenario, with a scrape and an evaluation every minute. It is longer
// than any range and any "for".
const minutes = 60

// series maps a metric, as expressions select it, to its value at each minute.
type series map[string]func(minute float64) float64

// constant returns a series that does not change.
func constant(v float64) func(float64) float64 { return func(float64) float64 { return v } }

// rising returns a counter that rises by v a minute.
func rising(v float64) func(float64) float64 {
	return func(minute float64) float64 { return v * minute }
}

// lately returns a counter that rises by v a minute, but only in the last five minutes.
func lately(v float64) func(float64) float64 {
	return func(minute float64) float64 { return v * max(0, minute-(minutes-5)) }
}

// sinceMinute returns a series that begins with a start of the process, and has the value v then.
func sinceMinute(start, v float64) func(float64) float64 {
	return func(minute float64) float64 {
		if minute < start {
			return math.NaN()
		}
		return v
	}
}

// healthy returns the metrics of a linesplit with two targets that delivers all its load.
func healthy() series {
	return series{
		`linesplit_build_info{version="v1"}`:                                  constant(1),
		`linesplit_queued_lines`:                                              constant(10),
		`linesplit_queued_bytes`:                                              constant(6e3),
		`linesplit_queue_buffers`:                                             constant(3),
		`linesplit_queue_capacity_buffers`:                                    constant(128),
		`linesplit_target_lanes_full{target="a"}`:                             constant(0),
		`linesplit_retained_lines`:                                            constant(1e4),
		`linesplit_retained_bytes`:                                            constant(6e6),
		`linesplit_memory_bytes`:                                              constant(8e6),
		`linesplit_accepting_paused`:                                          constant(0),
		`linesplit_memory_limit_bytes`:                                        constant(256 << 20),
		`linesplit_confirmed_lines_total{target="a"}`:                         rising(1e6),
		`linesplit_confirmed_lines_total{target="b"}`:                         rising(1e6),
		`linesplit_target_up{target="a"}`:                                     constant(1),
		`linesplit_target_up{target="b"}`:                                     constant(1),
		`linesplit_target_stalls_total{target="a"}`:                           constant(2),
		`linesplit_dropped_lines_total{reason="oversize"}`:                    constant(5),
		`linesplit_dropped_lines_total{reason="memory"}`:                      constant(5),
		`linesplit_group_dropped_lines_total{group="archive"}`:                constant(5),
		`linesplit_rejected_lines_total{target="a"}`:                          constant(5),
		`linesplit_truncated_lines_total`:                                     constant(0),
		`linesplit_udp_dropped_datagrams_total{listener="udp://0.0.0.0:514"}`: constant(5),
		`linesplit_resent_lines_total{target="a",cause="unread"}`:             constant(7),
		`linesplit_connections_cut_off_total`:                                 constant(0),
		`linesplit_accept_errors_total`:                                       constant(1),
		`linesplit_source_failing{source="dns://a:1"}`:                        constant(0),
		`linesplit_tls_handshake_errors_total`:                                rising(1),
		`linesplit_connections_refused_total{reason="denied"}`:                constant(4),
		`linesplit_spool_bytes`:                                               constant(128 << 20),
		`linesplit_spool_limit_bytes`:                                         constant(1 << 30),
		`linesplit_spool_oldest_timestamp_seconds`:                            rising(60), // just read
		`linesplit_spool_dropped_lines_total`:                                 constant(5),
		`linesplit_spool_faults_total`:                                        constant(5),
		`linesplit_spool_write_errors_total`:                                  constant(5),
		`linesplit_spool_quarantined_frames_total`:                            constant(0),
	}
}

type scenario struct {
	name    string
	changes series // to healthy; a nil function removes a series
	want    []string
}

func scenarios() []scenario {
	return []scenario{
		{"all is well", nil, nil},
		{"not scraped", series{`linesplit_build_info{version="v1"}`: nil}, []string{"LinesplitAbsent"}},
		{"one target down", series{`linesplit_target_up{target="a"}`: constant(0)}, []string{"LinesplitTargetDown"}},
		{"all targets down, and nothing to deliver", series{
			`linesplit_target_up{target="a"}`: constant(0), `linesplit_target_up{target="b"}`: constant(0),
			`linesplit_confirmed_lines_total{target="a"}`: constant(9), `linesplit_confirmed_lines_total{target="b"}`: constant(9),
			`linesplit_queued_lines`: constant(0), `linesplit_retained_lines`: constant(0),
		}, []string{"LinesplitAllTargetsDown", "LinesplitTargetDown"}},
		{"nothing delivered", series{
			`linesplit_confirmed_lines_total{target="a"}`: constant(9), `linesplit_confirmed_lines_total{target="b"}`: constant(9),
		}, []string{"LinesplitDeliversNothing"}},
		{"quiet", series{
			`linesplit_confirmed_lines_total{target="a"}`: constant(9), `linesplit_confirmed_lines_total{target="b"}`: constant(9),
			`linesplit_queued_lines`: constant(0), `linesplit_retained_lines`: constant(0),
		}, nil},
		{"a source fails", series{`linesplit_source_failing{source="dns://a:1"}`: constant(1)}, []string{"LinesplitSourceFailing"}},
		{"stalls", series{`linesplit_target_stalls_total{target="a"}`: lately(1)}, []string{"LinesplitTargetStalls"}},
		{"backlog grows", series{`linesplit_retained_bytes`: rising(2 << 20)}, []string{"LinesplitBacklogGrowing"}},
		{"backlog high and steady", series{`linesplit_retained_bytes`: constant(64 << 20)}, nil},
		{"backlog small and growing", series{`linesplit_retained_bytes`: rising(100 << 10)}, nil},
		{"queue full", series{`linesplit_queue_buffers`: constant(128)}, []string{"LinesplitQueueFull"}},
		{"lanes full", series{`linesplit_target_lanes_full{target="a"}`: constant(2)}, []string{"LinesplitLanesFull"}},
		{"memory", series{`linesplit_memory_bytes`: constant(250 << 20)}, []string{"LinesplitMemoryNearlyUsed"}},
		{"dropped for memory", series{`linesplit_dropped_lines_total{reason="memory"}`: lately(1)}, []string{"LinesplitDropsForMemory"}},
		{"dropped", series{`linesplit_dropped_lines_total{reason="oversize"}`: lately(1)}, []string{"LinesplitLinesDropped"}},
		{"rejected", series{`linesplit_rejected_lines_total{target="a"}`: lately(1)}, []string{"LinesplitLinesRejected"}},
		{"dropped for a group", series{`linesplit_group_dropped_lines_total{group="archive"}`: lately(1)}, []string{"LinesplitGroupLinesDropped"}},
		{"truncated", series{`linesplit_truncated_lines_total`: lately(1)}, []string{"LinesplitLinesTruncated"}},
		{"cut off", series{`linesplit_connections_cut_off_total`: constant(3)}, []string{"LinesplitSendersCutOff"}},
		{"resent", series{`linesplit_resent_lines_total{target="a",cause="unread"}`: lately(100)}, []string{"LinesplitResends"}},
		{"accept errors", series{`linesplit_accept_errors_total`: lately(1)}, []string{"LinesplitAcceptErrors"}},
		{"refused", series{`linesplit_connections_refused_total{reason="denied"}`: lately(1)}, []string{"LinesplitConnectionsRefused"}},
		{"datagrams dropped", series{`linesplit_udp_dropped_datagrams_total{listener="udp://0.0.0.0:514"}`: lately(5)}, []string{"LinesplitDatagramsDropped"}},
		{"connection limit", series{`linesplit_accepting_paused`: constant(1)}, []string{"LinesplitConnectionLimit"}},
		{"spool drops lines", series{`linesplit_spool_dropped_lines_total`: lately(1)}, []string{"LinesplitSpoolLinesDropped"}},
		{"spool fills up", series{`linesplit_spool_bytes`: constant(900 << 20)}, []string{"LinesplitSpoolFillingUp"}},
		{"lines in the spool are old", series{`linesplit_spool_oldest_timestamp_seconds`: constant(600)}, []string{"LinesplitSpoolOld"}},
		{"the spool is empty", series{`linesplit_spool_oldest_timestamp_seconds`: nil}, nil},
		{"no spool", series{
			`linesplit_spool_bytes`: nil, `linesplit_spool_limit_bytes`: nil, `linesplit_spool_oldest_timestamp_seconds`: nil,
			`linesplit_spool_dropped_lines_total`: nil, `linesplit_spool_faults_total`: nil,
			`linesplit_spool_quarantined_frames_total`: nil,
		}, nil},
		{"the disk of the spool fails", series{`linesplit_spool_faults_total`: lately(1)}, []string{"LinesplitSpoolFaults"}},
		{"damage is found while it runs", series{`linesplit_spool_quarantined_frames_total`: lately(1)}, []string{"LinesplitSpoolQuarantined"}},
		{"damage is found at the start", series{`linesplit_spool_quarantined_frames_total`: sinceMinute(30, 2)}, []string{"LinesplitSpoolQuarantined"}},
		{"damage was found long ago", series{`linesplit_spool_quarantined_frames_total`: constant(2)}, nil},
		{"handshake errors", series{`linesplit_tls_handshake_errors_total`: rising(60)}, []string{"LinesplitHandshakeErrors"}},
	}
}

func TestAlertsFireInTheirScenarios(t *testing.T) {
	for _, test := range scenarios() {
		t.Run(test.name, func(t *testing.T) {
			if got := firing(t, storageOf(t, test.changes)); !slices.Equal(got, test.want) {
				t.Errorf("alerts %v, want %v", got, test.want)
			}
		})
	}
}

// An alert that is added later needs a scenario, too.
func TestEveryAlertHasAScenario(t *testing.T) {
	groups, err := readRules(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range groups {
		for _, rule := range group.Rules {
			if !slices.ContainsFunc(scenarios(), func(s scenario) bool { return slices.Contains(s.want, rule.Alert) }) {
				t.Errorf("no scenario in which %s fires", rule.Alert)
			}
		}
	}
}

// firing returns the names of the alerts that fire at the end of a scenario, in the order of the
// file.
func firing(t *testing.T, data storage.Queryable) (names []string) {
	t.Helper()
	groups, err := readRules(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: parser.NewParser(parser.Options{}),
	})
	t.Cleanup(func() { engine.Close() })
	for _, group := range groups {
		for _, rule := range group.Rules {
			if fires(t, engine, data, rule) {
				names = append(names, rule.Alert)
			}
		}
	}
	return names
}

// fires reports whether one series was in the result of a rule for as long as the rule wants, up to
// the end.
func fires(t *testing.T, engine *promql.Engine, data storage.Queryable, rule rulefmt.Rule) bool {
	t.Helper()
	end := time.Unix(minutes*60, 0)
	begin := end.Add(-time.Duration(rule.For))
	query, err := engine.NewRangeQuery(t.Context(), data, nil, rule.Expr, begin, end, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	matrix, err := query.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	evaluations := int(time.Duration(rule.For)/time.Minute) + 1
	return slices.ContainsFunc(matrix, func(s promql.Series) bool { return len(s.Floats) == evaluations })
}

// memory holds the series that Prometheus would have scraped.
type memory []storage.Series

func storageOf(t *testing.T, changes series) memory {
	t.Helper()
	all := healthy()
	for name, value := range changes {
		if _, exists := all[name]; !exists {
			t.Fatalf("%s is not in healthy", name)
		}
		all[name] = value
	}
	var m memory
	for name, value := range all {
		if value == nil {
			continue
		}
		set, err := parser.NewParser(parser.Options{}).ParseMetric(name)
		if err != nil {
			t.Fatal(err)
		}
		set = labels.NewBuilder(set).Set("job", "linesplit").Set("instance", "host:9091").Labels()
		var samples []chunks.Sample
		for minute := range minutes + 1 {
			if v := value(float64(minute)); !math.IsNaN(v) {
				samples = append(samples, sample{int64(minute) * 60_000, v})
			}
		}
		m = append(m, storage.NewListSeries(set, samples))
	}
	return m
}

// Querier implements storage.Queryable.
func (m memory) Querier(int64, int64) (storage.Querier, error) { return querier{m}, nil }

type querier struct{ all memory }

func (q querier) Select(
	_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher,
) storage.SeriesSet {
	var found []storage.Series
	for _, s := range q.all {
		set := s.Labels()
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(set.Get(m.Name)) }) {
			found = append(found, s)
		}
	}
	return &seriesSet{rest: found}
}

func (querier) LabelValues(
	context.Context, string, *storage.LabelHints, ...*labels.Matcher,
) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

func (querier) LabelNames(
	context.Context, *storage.LabelHints, ...*labels.Matcher,
) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

func (querier) Close() error { return nil }

type seriesSet struct {
	at   storage.Series
	rest []storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.at, s.rest = s.rest[0], s.rest[1:]
	return true
}

func (s *seriesSet) At() storage.Series                { return s.at }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

type sample struct {
	t int64
	f float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.f }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
