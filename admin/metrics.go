package admin

import (
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewConfirmation returns the histogram of the seconds from reading a buffer to its confirmation.
// Workers call its Observe, which is safe for concurrent use and does not allocate. The buckets
// range from a fast loopback to a stalled target.
func NewConfirmation() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "linesplit_confirmation_seconds",
		Help: "Seconds from reading a buffer of lines to its confirmation.",
		Buckets: []float64{
			100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30, 60,
		},
	})
}

// newRegistry returns a registry apart from the default one, to which any imported package can
// add metrics.
func newRegistry(o Options) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectorOf(o),
		buildInfo(o.Version),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	switch {
	case o.Process != nil:
		registry.MustRegister(histograms{o.Process})
	case o.Histogram != nil:
		registry.MustRegister(o.Histogram)
	}
	if o.Process == nil && o.SpoolSync != nil {
		registry.MustRegister(o.SpoolSync)
	}
	return registry
}

func collectorOf(o Options) *collector {
	if o.Process != nil {
		return newServicesCollector(o.Process)
	}
	return newCollector(o.Mode, o.Status)
}

// serveMetrics serves a registry as text, with gzip where the client accepts it. Concurrent scrapes
// get the same answer; see shared.
func serveMetrics(registry *prometheus.Registry, log promhttp.Logger) http.Handler {
	text := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      log,
		ErrorHandling: promhttp.ContinueOnError, // the valid metrics are worth more than a clean failure
	})
	scrape := func(encoding string) *shared[*draft] {
		return newShared(func() *draft {
			d := newDraft()
			text.ServeHTTP(d, &http.Request{Method: http.MethodGet, Header: http.Header{"Accept-Encoding": {encoding}}})
			return d
		})
	}
	plain, compressed := scrape("identity"), scrape("gzip")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if acceptsGzip(r) {
			compressed.get().send(w)
		} else {
			plain.get().send(w)
		}
	})
}

func acceptsGzip(r *http.Request) bool {
	for _, list := range r.Header.Values("Accept-Encoding") {
		for one := range strings.SplitSeq(list, ",") {
			coding, weight, _ := strings.Cut(strings.ReplaceAll(one, " ", ""), ";")
			if coding == "gzip" && weight != "q=0" {
				return true
			}
		}
	}
	return false
}

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "linesplit_build_info",
		Help: "Always 1; the labels give the versions of linesplit and Go.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(version, runtime.Version()).Set(1)
	return info
}

// removedTargets is the label under which metrics show the counts of removed targets.
const removedTargets = "removed"

// family is one metric: its description, and a function that reads its values from a Status and
// calls emit once per combination of label values.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *Status, emit emitter)
	mode string // that has it; empty for both
	once bool   // of the process rather than of a service

	ports bool // also counts what has come to shared ports and to none of the services
}

type emitter func(value float64, labels ...string)

// collector turns one Status of each service per scrape into metrics.
type collector struct {
	statuses func() []Status
	ports    func() SharedPorts // nil if services have no names
	named    bool               // services have names, which become a label
	families []family

	mode string // of the families that are being added
	once bool
	help map[string]*prometheus.Desc // by name, of families that are there already
}

func newCollector(mode string, status func() Status) *collector {
	c := &collector{statuses: func() []Status { return []Status{status()} }}
	if mode == ModeConnection {
		c.addConnectionMode()
	} else {
		c.addLineMode()
	}
	c.addBoth()
	return c
}

// newServicesCollector returns the collector of all services, which may be of either mode.
func newServicesCollector(p Process) *collector {
	c := &collector{named: true, help: map[string]*prometheus.Desc{}}
	c.statuses = func() (all []Status) {
		for _, s := range p.Services() {
			status := s.Control.Status()
			status.Service = s.Name
			all = append(all, status)
		}
		return all
	}
	c.ports = p.SharedPorts
	c.mode = ModeLine
	c.addLineMode()
	c.mode = ModeConnection
	c.addConnectionMode()
	c.mode = ""
	c.addBoth()
	return c
}

func (c *collector) addLineMode() {
	c.addLedger()
	c.addLimits()
	c.addSenders()
	c.addLineTargets()
	c.addGroups()
	c.addSpool()
}

func (c *collector) addConnectionMode() {
	c.addForwardClients()
	c.addForwardTargets()
}

func (c *collector) addBoth() {
	c.addInbound()
	c.addSources()
	c.addShared()
	c.once = true
	c.addLogs()
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range c.families {
		descs <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	for i, status := range c.statuses() {
		for _, f := range c.families {
			if f.mode != "" && f.mode != status.Mode || f.once && i > 0 {
				continue
			}
			f.read(&status, func(value float64, labels ...string) {
				if c.named && !f.once {
					labels = append(labels, status.Service)
				}
				metrics <- metricOf(f, value, labels)
			})
		}
	}
	c.collectPorts(metrics)
}

// collectPorts emits what has come to shared ports as that of a service without a name.
func (c *collector) collectPorts(metrics chan<- prometheus.Metric) {
	if c.ports == nil {
		return
	}
	p := c.ports()
	status := Status{Totals: Totals{AcceptErrors: p.AcceptErrors, Probes: p.Probes, Refused: p.Refused}}
	for _, f := range c.families {
		if f.ports {
			f.read(&status, func(value float64, labels ...string) { metrics <- metricOf(f, value, append(labels, "")) })
		}
	}
}

// countsPorts notes that the family that was added last also counts at shared ports.
func (c *collector) countsPorts() { c.families[len(c.families)-1].ports = true }

func metricOf(f family, value float64, labels []string) prometheus.Metric {
	for i, label := range labels {
		labels[i] = strings.ToValidUTF8(label, "\uFFFD") // Prometheus takes no others
	}
	metric, err := prometheus.NewConstMetric(f.desc, f.kind, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return metric
}

// add adds a metric. If services have names, both modes share the metrics of the same name, with
// the help text of the first.
func (c *collector) add(name, help string, labels []string, kind prometheus.ValueType, read func(*Status, emitter)) {
	if c.named && !c.once {
		labels = append(slices.Clip(labels), "service")
	}
	desc := c.help[name]
	if desc == nil {
		desc = prometheus.NewDesc("linesplit_"+name, help, labels, nil)
	}
	if c.named {
		c.help[name] = desc
	}
	c.families = append(c.families, family{desc: desc, kind: kind, read: read, mode: c.mode, once: c.once})
}

// histograms are those of all services.
type histograms struct{ process Process }

// Describe implements prometheus.Collector. Services come and go, so that nothing is known in
// advance.
func (histograms) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (h histograms) Collect(metrics chan<- prometheus.Metric) {
	for _, s := range h.process.Services() {
		for _, one := range []prometheus.Histogram{s.Histogram, s.SpoolSync} {
			if one != nil {
				prometheus.WrapCollectorWith(prometheus.Labels{"service": s.Name}, one).Collect(metrics)
			}
		}
	}
}

func (c *collector) counter(name, help string, value func(*Status) uint64) {
	c.add(name, help, nil, prometheus.CounterValue, func(s *Status, emit emitter) { emit(float64(value(s))) })
}

func (c *collector) gauge(name, help string, value func(*Status) uint64) {
	c.add(name, help, nil, prometheus.GaugeValue, func(s *Status, emit emitter) { emit(float64(value(s))) })
}

// target adds a metric with one value per target. Removed targets have counters only: a removed
// target is not down.
func (c *collector) target(name, help string, kind prometheus.ValueType, value func(*TargetStatus) float64) {
	c.add(name, help, []string{"target"}, kind, func(s *Status, emit emitter) {
		for i := range s.Targets {
			emit(value(&s.Targets[i]), s.Targets[i].Name)
		}
		if kind == prometheus.CounterValue && s.Removed.counted() {
			emit(value(s.Removed), removedTargets)
		}
	})
}

// counted reports whether t has counts besides those of health checks.
func (t *TargetStatus) counted() bool { return t != nil && (t.Lines != nil || t.Forward != nil) }

// addShared adds the metrics that both modes have with the same help text.
func (c *collector) addShared() {
	c.target("target_up", "1 if the target is not known to be down, else 0.", prometheus.GaugeValue,
		func(t *TargetStatus) float64 { return oneIf(t.Up) })
	c.target("target_dial_errors_total", "Failed attempts to connect to the target.", prometheus.CounterValue,
		func(t *TargetStatus) float64 { return float64(t.DialErrors) })
	c.add("connections_refused_total", "Connections refused, by reason.", []string{"reason"},
		prometheus.CounterValue, func(s *Status, emit emitter) {
			for _, r := range s.Totals.Refused {
				emit(float64(r.Count), r.Reason)
			}
		})
	c.countsPorts()
	c.add("target_checks_total", "Health checks of the target, by result.", []string{"target", "result"},
		prometheus.CounterValue, emitChecks)
}

// addLogs adds the metrics of linesplit's own logs, which services share.
func (c *collector) addLogs() {
	c.add("log_dropped_lines_total", "Lines of linesplit's own logs that were dropped because their reader was too slow.",
		[]string{"log"}, prometheus.CounterValue, func(s *Status, emit emitter) {
			for _, d := range s.LogDropped {
				emit(float64(d.Lines), d.Log)
			}
		})
}

// emitChecks emits the counts of health checks. It leaves out targets that were never checked.
func emitChecks(s *Status, emit emitter) {
	one := func(name string, t *TargetStatus) {
		if t.ChecksPassed+t.ChecksFailed > 0 {
			emit(float64(t.ChecksPassed), name, "passed")
			emit(float64(t.ChecksFailed), name, "failed")
		}
	}
	for i := range s.Targets {
		one(s.Targets[i].Name, &s.Targets[i])
	}
	if s.Removed != nil {
		one(removedTargets, s.Removed)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
