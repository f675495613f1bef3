package admin

// addInbound adds what listeners count in both modes.
func (c *collector) addInbound() {
	c.counter("probes_total",
		"Connections that ended before their first byte, where TLS or a PROXY header had to come first.",
		func(s *Status) uint64 { return s.Totals.Probes })
	c.gauge("tls_handshakes", "TLS handshakes with senders or clients in progress.",
		func(s *Status) uint64 { return s.Totals.Handshakes })
	c.gauge("tls_handshakes_waiting", "Senders or clients that wait with their TLS handshake, since too many are in progress.",
		func(s *Status) uint64 { return s.Totals.HandshakesWaiting })
	c.counter("tls_handshakes_displaced_total",
		"TLS handshakes ended because the peer did not go on with its own while others waited.",
		func(s *Status) uint64 { return s.Totals.HandshakesDisplaced })
}
