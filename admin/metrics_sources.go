package admin

import "github.com/prometheus/client_golang/prometheus"

// addSources adds what is known of sources of targets.
func (c *collector) addSources() {
	c.source("source_failing", "1 if the last lookup of the source failed or its answer was not whole, else 0. Its "+
		"targets stay meanwhile.", prometheus.GaugeValue, func(s *SourceStatus) float64 { return oneIf(s.Failing) })
	c.source("source_targets", "Targets that the last answer of the source lists.", prometheus.GaugeValue,
		func(s *SourceStatus) float64 { return float64(s.Targets) })
	c.source("source_answers_total", "Answers of the source.", prometheus.CounterValue,
		func(s *SourceStatus) float64 { return float64(s.Answers) })
	c.source("source_failures_total", "Failed lookups of the source, and answers that were not whole.",
		prometheus.CounterValue, func(s *SourceStatus) float64 { return float64(s.Failures) })
	c.add("source_group", "1 for each source and the group that its targets are in.", []string{"source", "group"},
		prometheus.GaugeValue, func(s *Status, emit emitter) {
			for _, src := range s.Sources {
				if src.Group != "" {
					emit(1, src.Name, src.Group)
				}
			}
		})
	c.add("source_last_answer_timestamp_seconds", "When the source last answered, in seconds since 1970.",
		[]string{"source"}, prometheus.GaugeValue, func(s *Status, emit emitter) {
			for _, src := range s.Sources {
				if !src.LastAnswerAt.IsZero() {
					emit(float64(src.LastAnswerAt.UnixMilli())/1000, src.Name)
				}
			}
		})
}

func (c *collector) source(name, help string, kind prometheus.ValueType, value func(*SourceStatus) float64) {
	c.add(name, help, []string{"source"}, kind, func(s *Status, emit emitter) {
		for i := range s.Sources {
			emit(value(&s.Sources[i]), s.Sources[i].Name)
		}
	})
}
