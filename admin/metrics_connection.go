package admin

import "github.com/prometheus/client_golang/prometheus"

// NewConnect returns the histogram of the seconds that connecting to a target takes, TLS included. Whoever dials calls its Observe,
// which is safe for concurrent use. Its buckets go from a loopback to the usual timeout of a dial.
func NewConnect() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "linesplit_connect_seconds",
		Help:    "Seconds that connecting to a target took, successful attempts only.",
		Buckets: []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5},
	})
}

func (c *collector) addForwardClients() {
	c.gauge("connections", "Connections being carried.",
		func(s *Status) uint64 { return s.Totals.Connections })
	c.gauge("connections_waiting", "Clients that wait for a place at a target.",
		func(s *Status) uint64 { return s.Totals.Waiting })
	c.counter("connections_accepted_total", "Connections accepted.",
		func(s *Status) uint64 { return s.Totals.Accepted })
	c.counter("connections_cut_off_total", "Connections reset because they had not ended when the drain did.",
		func(s *Status) uint64 { return s.Totals.CutOff })
	c.counter("accept_errors_total", "Failed attempts to accept a connection.",
		func(s *Status) uint64 { return s.Totals.AcceptErrors })
	c.counter("tls_handshake_errors_total", "TLS handshakes with clients that failed.",
		func(s *Status) uint64 { return s.Totals.HandshakeErrors })
}

func (c *collector) addForwardTargets() {
	counter := func(name, help string, value func(*TargetForward) uint64) {
		c.target(name, help, prometheus.CounterValue, func(t *TargetStatus) float64 { return float64(value(t.forward())) })
	}
	c.target("target_connections", "Connections to the target.", prometheus.GaugeValue,
		func(t *TargetStatus) float64 { return float64(t.Connections) })
	counter("target_connections_total", "Connections ever made to the target.",
		func(f *TargetForward) uint64 { return f.Total })
	counter("target_received_bytes_total", "Bytes that came from the target.",
		func(f *TargetForward) uint64 { return f.ReceivedBytes })
	counter("target_sent_bytes_total", "Bytes that went to the target.",
		func(f *TargetForward) uint64 { return f.SentBytes })
}

// forward returns an empty TargetForward where there is none.
func (t *TargetStatus) forward() *TargetForward {
	if t.Forward == nil {
		return &TargetForward{}
	}
	return t.Forward
}
