package admin

import (
	"slices"
	"sync"
)

const (
	rateSamples = 10  // over which rates are computed, one per second
	pastSamples = 300 // in History
)

// history keeps the counts of the last minutes. Its methods are safe for concurrent use.
type history struct {
	mu      sync.Mutex // protects the fields below
	samples []sample   // oldest first, at most rateSamples
	past    []Sample   // oldest first, at most pastSamples
}

// sample holds the counts of one Status.
type sample struct {
	Sample
	accepted uint64
	spool    uint64 // SpoolStatus.left
	targets  map[string]targetCounts
}

type targetCounts struct{ lines, bytes, received, connections uint64 }

func sampleOf(s *Status) sample {
	out := sample{
		Sample: Sample{
			At: s.Now, SentBytes: s.Totals.SentBytes, Connections: s.Totals.Connections, Waiting: s.Totals.Waiting,
			Spool: spoolSample(s.Spool),
		},
		accepted: s.Totals.Accepted,
		spool:    s.Spool.left(),
		targets:  make(map[string]targetCounts, len(s.Targets)),
	}
	out.Received.Bytes = s.Totals.ReceivedBytes
	if s.Ledger != nil {
		out.Received, out.Sent, out.Confirmed = s.Ledger.Received, s.Ledger.Sent, s.Ledger.Confirmed
	}
	for i := range s.Targets {
		out.targets[s.Targets[i].Name] = countsOf(&s.Targets[i])
	}
	return out
}

func countsOf(t *TargetStatus) (c targetCounts) {
	if t.Lines != nil {
		c.lines, c.bytes = t.Lines.Sent.Lines, t.Lines.Sent.Bytes
	}
	if t.Forward != nil {
		c.bytes, c.received, c.connections = t.Forward.SentBytes, t.Forward.ReceivedBytes, t.Forward.Total
	}
	return c
}

// add adds the counts of a Status.
func (h *history) add(s *Status) {
	now := sampleOf(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = appendBounded(h.samples, now, rateSamples)
	h.past = appendBounded(h.past, now.Sample, pastSamples)
}

// appendBounded appends to a list of at most max values. It removes the first one of a full list.
func appendBounded[T any](list []T, value T, max int) []T {
	if len(list) == max {
		list = append(list[:0], list[1:]...)
	}
	return append(list, value)
}

// all returns the samples for History, oldest first.
func (h *history) all() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.past)
}

func (h *history) oldest() (s sample, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == 0 {
		return sample{}, false
	}
	return h.samples[0], true
}

// setRates sets the rates of a Status. Without an earlier sample they stay 0.
func (h *history) setRates(s *Status) {
	old, ok := h.oldest()
	seconds := s.Now.Sub(old.At).Seconds()
	if !ok || seconds <= 0 {
		return
	}
	now := sampleOf(s)
	per := func(before, after uint64) float64 {
		if after < before { // a target that was removed and added again
			return 0
		}
		return float64(after-before) / seconds
	}
	s.Rates = Rates{
		ReceivedLines:  per(old.Received.Lines, now.Received.Lines),
		ReceivedBytes:  per(old.Received.Bytes, now.Received.Bytes),
		ConfirmedLines: per(old.Confirmed.Lines, now.Confirmed.Lines),
		ConfirmedBytes: per(old.Confirmed.Bytes, now.Confirmed.Bytes),
		SentLines:      per(old.Sent.Lines, now.Sent.Lines),
		SentBytes:      per(old.Sent.Bytes+old.SentBytes, now.Sent.Bytes+now.SentBytes), // one of them is 0
		Accepted:       per(old.accepted, now.accepted),
	}
	s.Spool.setEmptySeconds(old.spool, seconds)
	var sum float64
	for i := range s.Targets {
		t := &s.Targets[i]
		before, after := old.targets[t.Name], now.targets[t.Name]
		t.Rates = TargetRates{
			Lines:         per(before.lines, after.lines),
			Bytes:         per(before.bytes, after.bytes),
			ReceivedBytes: per(before.received, after.received),
			Connections:   per(before.connections, after.connections),
		}
		sum += t.Rates.Bytes
	}
	for i := range s.Targets {
		if sum > 0 {
			s.Targets[i].Rates.Share = s.Targets[i].Rates.Bytes / sum
		}
	}
}
