package admin

import "github.com/prometheus/client_golang/prometheus"

// addInbound adds what listeners count in both modes.
func (c *collector) addInbound() {
	c.counter("probes_total",
		"Connections that ended before their first byte, where TLS or a PROXY header had to come first.",
		func(s *Status) uint64 { return s.Totals.Probes })
	c.countsPorts()
	c.gauge("tls_handshakes", "TLS handshakes with senders or clients in progress.",
		func(s *Status) uint64 { return s.Totals.Handshakes })
	c.gauge("tls_handshakes_waiting", "Senders or clients that wait with their TLS handshake, since too many are in progress.",
		func(s *Status) uint64 { return s.Totals.HandshakesWaiting })
	c.counter("tls_handshakes_displaced_total",
		"TLS handshakes ended because the peer did not go on with its own while others waited.",
		func(s *Status) uint64 { return s.Totals.HandshakesDisplaced })
	c.add("udp_dropped_datagrams_total", "Datagrams that the kernel dropped at a udp:// listener, most likely since "+
		"its receive buffer was full.", []string{"listener"}, prometheus.CounterValue, func(s *Status, emit emitter) {
		for _, l := range s.Datagrams {
			emit(float64(l.Dropped), l.Listener)
		}
	})
	c.add("udp_receive_buffer_bytes", "Size of the receive buffer that the kernel granted a udp:// listener.",
		[]string{"listener"}, prometheus.GaugeValue, func(s *Status, emit emitter) {
			for _, l := range s.Datagrams {
				emit(float64(l.ReceiveBuffer), l.Listener)
			}
		})
}
