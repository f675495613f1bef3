package admin

import "github.com/prometheus/client_golang/prometheus"

// Forwarded is Snapshot for connection mode. All but the gauges only ever grow.
type Forwarded struct {
	Accepted        uint64 // clients' connections, and sessions of udp:// listeners
	AcceptErrors    uint64
	HandshakeErrors uint64 // of clients' TLS
	Connections     int64  // gauge: being carried
	Waiting         int64  // gauge: clients that wait for a place at a target
	CutOff          uint64 // reset because the drain had ended
	Refused         []Count
	Checks          []Checks
	Targets         []ForwardTarget
}

// ForwardTarget is Target for connection mode. Received is what came from the target, Sent what went to it.
type ForwardTarget struct {
	Name           string // the address: it becomes a label
	Removed        bool   // as in Target
	Up             bool   // gauge: not known to be down
	Connections    int64  // gauge
	Total          uint64 // connections ever made for clients
	Received, Sent uint64 // bytes
	DialErrors     uint64
}

// NewConnect returns the histogram of the seconds that connecting to a target takes, TLS included. Whoever dials calls its Observe,
// which is safe for concurrent use. Its buckets go from a loopback to the usual timeout of a dial.
func NewConnect() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "linesplit_connect_seconds",
		Help:    "Seconds that connecting to a target took, successful attempts only.",
		Buckets: []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5},
	})
}

func newForwardCollector(source func() Forwarded) prometheus.Collector {
	c := &collector[Forwarded]{source: source}
	addClients(c)
	addForwardTargets(c)
	return c
}

func addClients(c *collector[Forwarded]) {
	c.gauge("connections", "Connections being carried.",
		func(f *Forwarded) int64 { return f.Connections })
	c.gauge("connections_waiting", "Clients that wait for a place at a target.",
		func(f *Forwarded) int64 { return f.Waiting })
	c.counter("connections_accepted_total", "Connections accepted.",
		func(f *Forwarded) uint64 { return f.Accepted })
	c.counter("connections_cut_off_total", "Connections reset because they had not ended when the drain did.",
		func(f *Forwarded) uint64 { return f.CutOff })
	c.counter("accept_errors_total", "Failed attempts to accept a connection.",
		func(f *Forwarded) uint64 { return f.AcceptErrors })
	c.counter("tls_handshake_errors_total", "TLS handshakes with clients that failed.",
		func(f *Forwarded) uint64 { return f.HandshakeErrors })
	c.refused(func(f *Forwarded) []Count { return f.Refused })
	c.checks(func(f *Forwarded) []Checks { return f.Checks })
}

func addForwardTargets(c *collector[Forwarded]) {
	add := func(name, help string, kind prometheus.ValueType, value func(ForwardTarget) float64) {
		c.add(name, help, []string{"target"}, kind, func(f *Forwarded, emit emitter) {
			for _, t := range f.Targets {
				if !t.Removed || kind == prometheus.CounterValue {
					emit(value(t), t.Name)
				}
			}
		})
	}
	add("target_up", "1 if the target is not known to be down, else 0.", prometheus.GaugeValue,
		func(t ForwardTarget) float64 { return oneIf(t.Up) })
	add("target_connections", "Connections to the target.", prometheus.GaugeValue,
		func(t ForwardTarget) float64 { return float64(t.Connections) })
	add("target_connections_total", "Connections ever made to the target.", prometheus.CounterValue,
		func(t ForwardTarget) float64 { return float64(t.Total) })
	add("target_received_bytes_total", "Bytes that came from the target.", prometheus.CounterValue,
		func(t ForwardTarget) float64 { return float64(t.Received) })
	add("target_sent_bytes_total", "Bytes that went to the target.", prometheus.CounterValue,
		func(t ForwardTarget) float64 { return float64(t.Sent) })
	add("target_dial_errors_total", "Failed attempts to connect to the target.", prometheus.CounterValue,
		func(t ForwardTarget) float64 { return float64(t.DialErrors) })
}
