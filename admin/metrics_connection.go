package admin

import "github.com/prometheus/client_golang/prometheus"

// NewConnect returns the histogram of the seconds that connecting to a target takes, including
// TLS. The relay calls its Observe, which is safe for concurrent use. The buckets range from a
// loopback to the default dial timeout.
func NewConnect() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "linesplit_connect_seconds",
		Help: "Seconds that successful connects to a target took, including TLS.",
		Buckets: []float64{
			50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5,
		},
	})
}

// addForwardClients adds the counts of clients. It and the method below are for connection mode.
func (c *collector) addForwardClients() {
	c.gauge("connections", "Senders or clients connected, including clients that wait for a target.",
		func(s *Status) uint64 { return s.Totals.Connections })
	c.gauge("connections_waiting", "Clients that wait because all targets are full.",
		func(s *Status) uint64 { return s.Totals.Waiting })
	c.counter("connections_accepted_total", "Senders or clients accepted, including UDP sessions.",
		func(s *Status) uint64 { return s.Totals.Accepted })
	c.counter("connections_cut_off_total", "Senders or clients still connected when the drain ended.",
		func(s *Status) uint64 { return s.Totals.CutOff })
	c.counter("accept_errors_total", "Failed attempts to accept a connection.",
		func(s *Status) uint64 { return s.Totals.AcceptErrors })
	c.counter("tls_handshake_errors_total", "Failed TLS handshakes with senders or clients.",
		func(s *Status) uint64 { return s.Totals.HandshakeErrors })
	c.add("discarded_bytes_total", "Bytes that did not arrive, since the connection broke or was reset first; with TLS "+
		"encrypted bytes.", []string{"to"}, prometheus.CounterValue, func(s *Status, emit emitter) {
		emit(float64(s.Totals.DiscardedIn), "target")
		emit(float64(s.Totals.DiscardedOut), "client")
	})
	c.counter("udp_lost_datagrams_total", "Datagrams that were not passed on to a target or back to a client, replies that the kernel dropped included.",
		func(s *Status) uint64 { return s.Totals.LostDatagrams })
}

func (c *collector) addForwardTargets() {
	counter := func(name, help string, value func(*TargetForward) uint64) {
		c.target(name, help, prometheus.CounterValue,
			func(t *TargetStatus) float64 { return float64(value(t.forward())) })
	}
	c.target("target_connections", "Connections open to the target, including those being dialled.", prometheus.GaugeValue,
		func(t *TargetStatus) float64 { return float64(t.Connections) })
	counter("target_connections_total", "Connections ever opened to the target for clients.",
		func(f *TargetForward) uint64 { return f.Total })
	counter("target_received_bytes_total", "Bytes received from the target.",
		func(f *TargetForward) uint64 { return f.ReceivedBytes })
	counter("target_sent_bytes_total", "Bytes sent to the target.",
		func(f *TargetForward) uint64 { return f.SentBytes })
}

// forward returns t.Forward, or an empty one if it is nil.
func (t *TargetStatus) forward() *TargetForward {
	if t.Forward == nil {
		return &TargetForward{}
	}
	return t.Forward
}
