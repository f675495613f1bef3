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
	registry.MustRegister(
		newCollector(o.Source),
		buildInfo(o.Version),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	if o.Confirmation != nil {
		registry.MustRegister(o.Confirmation)
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

// family is one metric: how it is described, and how it is read from a snapshot, by calling emit for each label value.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *Snapshot, emit func(value float64, labels ...string))
}

// collector turns one snapshot per scrape into metrics.
type collector struct {
	source   func() Snapshot
	families []family
}

func newCollector(source func() Snapshot) *collector {
	c := &collector{source: source}
	c.addLedger()
	c.addTargets()
	c.addSenders()
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range c.families {
		descs <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
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

func (c *collector) addLedger() {
	c.counter("received_lines_total", "Complete lines read from senders, dropped ones included.",
		func(s *Snapshot) uint64 { return s.ReceivedLines })
	c.counter("received_bytes_total", "Bytes of the complete lines read from senders.",
		func(s *Snapshot) uint64 { return s.ReceivedBytes })
	c.dropped("dropped_lines_total", "Lines received and not delivered, by reason.",
		func(d Dropped) uint64 { return d.Lines })
	c.dropped("dropped_bytes_total", "Bytes received and not delivered, by reason.",
		func(d Dropped) uint64 { return d.Bytes })
	c.counter("truncated_lines_total", "Lines cut to the longest allowed length, and delivered so.",
		func(s *Snapshot) uint64 { return s.TruncatedLines })
	c.gauge("queued_lines", "Lines read and not yet taken by a worker.",
		func(s *Snapshot) int64 { return s.QueuedLines })
	c.gauge("queued_bytes", "Bytes read and not yet taken by a worker.",
		func(s *Snapshot) int64 { return s.QueuedBytes })
	c.gauge("queue_buffers", "Buffers of lines in the queue.",
		func(s *Snapshot) int64 { return int64(s.QueueBuffers) })
	c.gauge("queue_capacity_buffers", "Buffers that the queue takes; when it is full, senders wait.",
		func(s *Snapshot) int64 { return int64(s.QueueCapacity) })
	c.gauge("retained_lines", "Lines written to targets and not yet confirmed.",
		func(s *Snapshot) int64 { return s.RetainedLines })
	c.gauge("retained_bytes", "Bytes written to targets and not yet confirmed.",
		func(s *Snapshot) int64 { return s.RetainedBytes })
	c.gauge("memory_bytes", "Bytes held by lines, whole and unfinished.",
		func(s *Snapshot) int64 { return s.MemoryBytes })
	c.gauge("memory_limit_bytes", "Budget for the bytes held by lines; at it, senders wait.",
		func(s *Snapshot) int64 { return s.MemoryLimit })
}

func (c *collector) addTargets() {
	c.target("confirmed_lines_total", "Lines that the target has taken for good.", prometheus.CounterValue,
		func(t Target) float64 { return float64(t.ConfirmedLines) })
	c.target("confirmed_bytes_total", "Bytes that the target has taken for good.", prometheus.CounterValue,
		func(t Target) float64 { return float64(t.ConfirmedBytes) })
	c.resent("resent_lines_total", "Lines sent again after the target failed, which may have arrived twice, by cause.",
		func(r Resent) uint64 { return r.Lines })
	c.resent("resent_bytes_total", "Bytes sent again after the target failed, which may have arrived twice, by cause.",
		func(r Resent) uint64 { return r.Bytes })
	c.target("target_up", "1 if the target is not known to be down, else 0.", prometheus.GaugeValue,
		func(t Target) float64 { return oneIf(t.Up) })
	c.target("target_connections", "Connections open to the target.", prometheus.GaugeValue,
		func(t Target) float64 { return float64(t.Connections) })
	c.target("target_dial_errors_total", "Failed attempts to connect to the target.", prometheus.CounterValue,
		func(t Target) float64 { return float64(t.DialErrors) })
	c.target("target_failovers_total", "Workers that left the target because it failed.", prometheus.CounterValue,
		func(t Target) float64 { return float64(t.Failovers) })
	c.target("target_failbacks_total", "Workers that came home to the target.", prometheus.CounterValue,
		func(t Target) float64 { return float64(t.Failbacks) })
	c.target("target_stalls_total", "Times that the target took nothing for the stall timeout.", prometheus.CounterValue,
		func(t Target) float64 { return float64(t.Stalls) })
}

func (c *collector) addSenders() {
	c.gauge("connections", "Senders connected.",
		func(s *Snapshot) int64 { return s.Connections })
	c.counter("connections_accepted_total", "Senders accepted.",
		func(s *Snapshot) uint64 { return s.Accepted })
	c.counter("connections_cut_off_total", "Senders still connected when the drain ended.",
		func(s *Snapshot) uint64 { return s.CutOff })
	c.counter("accept_errors_total", "Failed attempts to accept a sender.",
		func(s *Snapshot) uint64 { return s.AcceptErrors })
	c.counter("tls_handshake_errors_total", "TLS handshakes with senders that failed.",
		func(s *Snapshot) uint64 { return s.HandshakeErrors })
}

func (c *collector) counter(name, help string, value func(*Snapshot) uint64) {
	c.add(name, help, nil, prometheus.CounterValue, func(s *Snapshot, emit func(float64, ...string)) {
		emit(float64(value(s)))
	})
}

func (c *collector) gauge(name, help string, value func(*Snapshot) int64) {
	c.add(name, help, nil, prometheus.GaugeValue, func(s *Snapshot, emit func(float64, ...string)) {
		emit(float64(value(s)))
	})
}

func (c *collector) dropped(name, help string, value func(Dropped) uint64) {
	c.add(name, help, []string{"reason"}, prometheus.CounterValue, func(s *Snapshot, emit func(float64, ...string)) {
		for _, d := range s.Dropped {
			emit(float64(value(d)), d.Reason)
		}
	})
}

func (c *collector) target(name, help string, kind prometheus.ValueType, value func(Target) float64) {
	c.add(name, help, []string{"target"}, kind, func(s *Snapshot, emit func(float64, ...string)) {
		for _, t := range s.Targets {
			emit(value(t), t.Name)
		}
	})
}

func (c *collector) resent(name, help string, value func(Resent) uint64) {
	c.add(name, help, []string{"target", "cause"}, prometheus.CounterValue, func(s *Snapshot, emit func(float64, ...string)) {
		for _, t := range s.Targets {
			for _, r := range t.Resent {
				emit(float64(value(r)), t.Name, r.Cause)
			}
		}
	})
}

func (c *collector) add(name, help string, labels []string, kind prometheus.ValueType, read func(*Snapshot, func(float64, ...string))) {
	desc := prometheus.NewDesc("linesplit_"+name, help, labels, nil)
	c.families = append(c.families, family{desc: desc, kind: kind, read: read})
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
