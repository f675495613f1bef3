package admin

import "github.com/prometheus/client_golang/prometheus"

// addLedger adds the counts of lines. It and the methods below are for line mode.
func (c *collector) addLedger() {
	c.counter("received_lines_total", "Complete lines read from senders, including dropped ones.",
		func(s *Status) uint64 { return s.ledger().Received.Lines })
	c.counter("received_bytes_total", "Bytes of complete lines read from senders, including dropped ones.",
		func(s *Status) uint64 { return s.ledger().Received.Bytes })
	c.dropped("dropped_lines_total", "Lines received and dropped, by reason.",
		func(a Amount) uint64 { return a.Lines })
	c.dropped("dropped_bytes_total", "Bytes received and dropped, by reason.",
		func(a Amount) uint64 { return a.Bytes })
	c.counter("truncated_lines_total", "Lines truncated to the maximum length and delivered.",
		func(s *Status) uint64 { return s.ledger().Truncated })
	c.counter("altered_lines_total",
		"Lines in which something else was written for a newline or NUL byte that the target's framing cannot hold.",
		func(s *Status) uint64 { return s.ledger().Altered })
	c.add("framing_bytes_total",
		"Bytes by which lines became longer (added) or shorter (removed) in the framing of their target.",
		[]string{"change"}, prometheus.CounterValue, func(s *Status, emit emitter) {
			emit(float64(s.ledger().FramingAdded), "added")
			emit(float64(s.ledger().FramingRemoved), "removed")
		})
	c.gauge("queued_lines", "Lines read and not yet taken by a worker.",
		func(s *Status) uint64 { return s.ledger().Queued.Lines })
	c.gauge("queued_bytes", "Bytes read and not yet taken by a worker.",
		func(s *Status) uint64 { return s.ledger().Queued.Bytes })
	c.gauge("retained_lines", "Lines written to targets and not yet confirmed.",
		func(s *Status) uint64 { return s.ledger().Retained.Lines })
	c.gauge("retained_bytes", "Bytes written to targets and not yet confirmed.",
		func(s *Status) uint64 { return s.ledger().Retained.Bytes })
	c.add("keys_moving_ratio", "Share of all keys that are on their way to another target, 0 to 1.", nil,
		prometheus.GaugeValue, func(s *Status, emit emitter) { emit(s.keys().Moving) })
	c.gauge("keys_waiting_lines", "Lines that wait for their key to move, a part of the queued ones.",
		func(s *Status) uint64 { return s.keys().Waiting.Lines })
}

func (c *collector) addLimits() {
	c.gauge("queue_buffers", "Buffers of lines in the queue.",
		func(s *Status) uint64 { return s.Limits.QueueBuffers })
	c.gauge("queue_capacity_buffers", "Capacity of the queue in buffers; senders wait while it is full.",
		func(s *Status) uint64 { return s.Limits.QueueCapacity })
	c.gauge("memory_bytes", "Bytes of memory held by lines, complete or not.",
		func(s *Status) uint64 { return s.Limits.MemoryBytes })
	c.gauge("memory_limit_bytes", "Limit of the memory for lines; at the limit, senders wait.",
		func(s *Status) uint64 { return s.Limits.MemoryLimit })
}

func (c *collector) addSenders() {
	c.gauge("connections", "Senders or clients connected, including clients that wait for a target.",
		func(s *Status) uint64 { return s.Totals.Connections })
	c.counter("connections_accepted_total", "Senders or clients accepted, including UDP sessions.",
		func(s *Status) uint64 { return s.Totals.Accepted })
	c.counter("connections_cut_off_total", "Senders or clients still connected when the drain ended.",
		func(s *Status) uint64 { return s.Totals.CutOff })
	c.counter("connections_broken_total",
		"Senders whose connection broke: a reset, no answer to keepalives, or TLS that was cut off.",
		func(s *Status) uint64 { return s.Totals.Broken })
	c.gauge("accepting_paused", "1 while the connection limit is reached, so that more senders wait, else 0.",
		func(s *Status) uint64 { return uint64(oneIf(s.Limits.AcceptingPaused)) })
	c.counter("accept_pauses_total", "Times that accepting paused at the connection limit.",
		func(s *Status) uint64 { return s.Totals.AcceptPauses })
	c.add("connections_timed_out_total", "Senders ended by a timeout.", []string{"timeout"},
		prometheus.CounterValue, func(s *Status, emit emitter) {
			emit(float64(s.Totals.IdleTimeouts), "idle")
			emit(float64(s.Totals.LineTimeouts), "line")
		})
	c.add("requests_total", "HTTP requests with lines, by the status of their answer; gone: the client left before it.",
		[]string{"status"}, prometheus.CounterValue, func(s *Status, emit emitter) {
			for _, a := range s.Totals.Answers {
				emit(float64(a.Count), a.Status)
			}
		})
	c.counter("accept_errors_total", "Failed attempts to accept a sender.",
		func(s *Status) uint64 { return s.Totals.AcceptErrors })
	c.countsPorts() // of both modes
	c.counter("tls_handshake_errors_total", "Failed TLS handshakes with senders or clients.",
		func(s *Status) uint64 { return s.Totals.HandshakeErrors })
}

func (c *collector) addLineTargets() {
	counter := func(name, help string, value func(*TargetLines) uint64) {
		c.target(name, help, prometheus.CounterValue,
			func(t *TargetStatus) float64 { return float64(value(t.lines())) })
	}
	counter("sent_lines_total", "Lines written to the target, each time that a line was sent.",
		func(l *TargetLines) uint64 { return l.Sent.Lines })
	counter("sent_bytes_total", "Bytes of lines written to the target, each time that a line was sent.",
		func(l *TargetLines) uint64 { return l.Sent.Bytes })
	counter("acknowledged_lines_total", "Lines of those sent that the target's kernel has acknowledged.",
		func(l *TargetLines) uint64 { return l.Acknowledged.Lines })
	counter("acknowledged_bytes_total", "Bytes of those lines sent that the target's kernel has acknowledged.",
		func(l *TargetLines) uint64 { return l.Acknowledged.Bytes })
	counter("confirmed_lines_total", "Lines confirmed by the target.",
		func(l *TargetLines) uint64 { return l.Confirmed.Lines })
	counter("confirmed_bytes_total", "Bytes confirmed by the target.",
		func(l *TargetLines) uint64 { return l.Confirmed.Bytes })
	counter("rejected_lines_total", "Lines that the target has refused for good.",
		func(l *TargetLines) uint64 { return l.Rejected.Lines })
	counter("rejected_bytes_total", "Bytes of lines that the target has refused for good.",
		func(l *TargetLines) uint64 { return l.Rejected.Bytes })
	c.resent("resent_lines_total", "Lines sent again after the target failed, which may have arrived twice, by cause.",
		func(a Amount) uint64 { return a.Lines })
	c.resent("resent_bytes_total", "Bytes sent again after the target failed, which may have arrived twice, by cause.",
		func(a Amount) uint64 { return a.Bytes })
	c.target("target_connections", "Connections open to the target, including those being dialled.", prometheus.GaugeValue,
		func(t *TargetStatus) float64 { return float64(t.Connections) })
	c.target("target_exact_connections", "Connections to the target whose unread bytes the kernel reports.",
		prometheus.GaugeValue, func(t *TargetStatus) float64 { return float64(t.lines().ExactConnections) })
	gauge := func(name, help string, value func(*TargetLanes) uint64) {
		c.target(name, help, prometheus.GaugeValue,
			func(t *TargetStatus) float64 { return float64(value(t.lines().lanes())) })
	}
	gauge("target_lane_lines", "Lines that wait in the lanes of the target's keys, a part of the queued ones.",
		func(l *TargetLanes) uint64 { return l.Queued.Lines })
	gauge("target_lane_bytes", "Bytes of these lines.",
		func(l *TargetLanes) uint64 { return l.Queued.Bytes })
	gauge("target_lanes_full", "Lanes of the target's keys that have no room, so that senders wait.",
		func(l *TargetLanes) uint64 { return l.Full })
	c.target("target_wanted_connections", "Connections that the target's share comes to.",
		prometheus.GaugeValue, func(t *TargetStatus) float64 { return float64(t.lines().WantedConnections) })
	counter("target_failovers_total", "Failovers of workers away from the target.",
		func(l *TargetLines) uint64 { return l.Failovers })
	counter("target_failbacks_total", "Failbacks of workers to the target.",
		func(l *TargetLines) uint64 { return l.Failbacks })
	counter("target_stalls_total", "Connections to the target without progress for the stall timeout.",
		func(l *TargetLines) uint64 { return l.Stalls })
}

func (c *collector) dropped(name, help string, value func(Amount) uint64) {
	c.add(name, help, []string{"reason"}, prometheus.CounterValue, func(s *Status, emit emitter) {
		for _, d := range s.ledger().DroppedBy {
			emit(float64(value(d.Amount)), d.Reason)
		}
	})
}

func (c *collector) resent(name, help string, value func(Amount) uint64) {
	c.add(name, help, []string{"target", "cause"}, prometheus.CounterValue, func(s *Status, emit emitter) {
		one := func(name string, t *TargetStatus) {
			for _, r := range t.lines().ResentBy {
				emit(float64(value(r.Amount)), name, r.Cause)
			}
		}
		for i := range s.Targets {
			one(s.Targets[i].Name, &s.Targets[i])
		}
		if s.Removed.counted() {
			one(removedTargets, s.Removed)
		}
	})
}

// ledger returns s.Ledger, or an empty one if it is nil.
func (s *Status) ledger() *Ledger {
	if s.Ledger == nil {
		return &Ledger{}
	}
	return s.Ledger
}

// keys returns s.Keys, or empty ones if it is nil.
func (s *Status) keys() *KeyStatus {
	if s.Keys == nil {
		return &KeyStatus{}
	}
	return s.Keys
}

// lanes returns l.Lanes, or empty ones if it is nil.
func (l *TargetLines) lanes() *TargetLanes {
	if l.Lanes == nil {
		return &TargetLanes{}
	}
	return l.Lanes
}

// lines returns t.Lines, or empty ones if it is nil.
func (t *TargetStatus) lines() *TargetLines {
	if t.Lines == nil {
		return &TargetLines{}
	}
	return t.Lines
}
