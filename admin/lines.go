package admin

import "github.com/prometheus/client_golang/prometheus"

// lineCollector is the metrics of line mode.
type lineCollector struct{ *collector[Snapshot] }

func newLineCollector(source func() Snapshot) prometheus.Collector {
	c := lineCollector{&collector[Snapshot]{source: source}}
	c.addLedger()
	c.addTargets()
	c.addSenders()
	return c
}

func (c lineCollector) addLedger() {
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

func (c lineCollector) addTargets() {
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

func (c lineCollector) addSenders() {
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
	c.refused(func(s *Snapshot) []Count { return s.Refused })
	c.checks(func(s *Snapshot) []Checks { return s.Checks })
}

func (c lineCollector) dropped(name, help string, value func(Dropped) uint64) {
	c.add(name, help, []string{"reason"}, prometheus.CounterValue, func(s *Snapshot, emit emitter) {
		for _, d := range s.Dropped {
			emit(float64(value(d)), d.Reason)
		}
	})
}

func (c lineCollector) target(name, help string, kind prometheus.ValueType, value func(Target) float64) {
	c.add(name, help, []string{"target"}, kind, func(s *Snapshot, emit emitter) {
		for _, t := range s.Targets {
			if !t.Removed || kind == prometheus.CounterValue { // one that is gone is not down
				emit(value(t), t.Name)
			}
		}
	})
}

func (c lineCollector) resent(name, help string, value func(Resent) uint64) {
	c.add(name, help, []string{"target", "cause"}, prometheus.CounterValue, func(s *Snapshot, emit emitter) {
		for _, t := range s.Targets {
			for _, r := range t.Resent {
				emit(float64(value(r)), t.Name, r.Cause)
			}
		}
	})
}
