package admin

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewConfirmation returns the histogram of the seconds from reading a buffer to its confirmation. Whoever confirms
// calls its Observe, which is safe for concurrent use and does not allocate. Its buckets go from a quick loopback to
// the stall of a target.
func NewConfirmation() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "linesplit_confirmation_seconds",
		Help: "Seconds from reading a buffer of lines to its confirmation.",
		Buckets: []float64{
			100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30, 60,
		},
	})
}

// newRegistry returns a registry of its own, so that nothing gets into it by being imported.
func newRegistry(o Options) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	if o.Source != nil {
		registry.MustRegister(newLineCollector(o.Source))
	}
	if o.Forwarded != nil {
		registry.MustRegister(newForwardCollector(o.Forwarded))
	}
	if o.LogDropped != nil {
		registry.MustRegister(newLogCollector(o.LogDropped))
	}
	registry.MustRegister(
		buildInfo(o.Version),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if o.Histogram != nil {
		registry.MustRegister(o.Histogram)
	}
	return registry
}

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "linesplit_build_info",
		Help: "Always 1; the labels say which linesplit this is.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(version, runtime.Version()).Set(1)
	return info
}

func newLogCollector(dropped func() []Count) prometheus.Collector {
	c := &collector[[]Count]{source: dropped}
	c.add("log_dropped_lines_total", "Lines of linesplit's own logs that were dropped, since nobody read them in time.", []string{"log"},
		prometheus.CounterValue, func(all *[]Count, emit emitter) {
			for _, n := range *all {
				emit(float64(n.N), n.Label)
			}
		})
	return c
}

// family is one metric: how it is described, and how it is read from a snapshot, by calling emit for each label value.
type family[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *S, emit emitter)
}

type emitter func(value float64, labels ...string)

// collector turns one snapshot per scrape into metrics.
type collector[S any] struct {
	source   func() S
	families []family[S]
}

// Describe implements prometheus.Collector.
func (c *collector[S]) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range c.families {
		descs <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector[S]) Collect(metrics chan<- prometheus.Metric) {
	snapshot := c.source()
	for _, f := range c.families {
		f.read(&snapshot, func(value float64, labels ...string) {
			metric, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
			if err != nil { // a label that is not UTF-8, for one
				metric = prometheus.NewInvalidMetric(f.desc, err)
			}
			metrics <- metric
		})
	}
}

func (c *collector[S]) add(name, help string, labels []string, kind prometheus.ValueType, read func(*S, emitter)) {
	desc := prometheus.NewDesc("linesplit_"+name, help, labels, nil)
	c.families = append(c.families, family[S]{desc: desc, kind: kind, read: read})
}

func (c *collector[S]) counter(name, help string, value func(*S) uint64) {
	c.add(name, help, nil, prometheus.CounterValue, func(s *S, emit emitter) { emit(float64(value(s))) })
}

func (c *collector[S]) gauge(name, help string, value func(*S) int64) {
	c.add(name, help, nil, prometheus.GaugeValue, func(s *S, emit emitter) { emit(float64(value(s))) })
}

// refused and checks are the same in both modes.
func (c *collector[S]) refused(value func(*S) []Count) {
	c.add("connections_refused_total", "Connections that were not served, by reason.", []string{"reason"}, prometheus.CounterValue,
		func(s *S, emit emitter) {
			for _, n := range value(s) {
				emit(float64(n.N), n.Label)
			}
		})
}

func (c *collector[S]) checks(value func(*S) []Checks) {
	c.add("target_checks_total", "Health checks of the target, by result.", []string{"target", "result"}, prometheus.CounterValue,
		func(s *S, emit emitter) {
			for _, n := range value(s) {
				emit(float64(n.Passed), n.Target, "passed")
				emit(float64(n.Failed), n.Target, "failed")
			}
		})
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
