// Package latency records durations and returns their quantiles.
package latency

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// digits is the precision of a Histogram: durations that differ by less than a thousandth count
// as equal.
const digits = 3

// Quantiles are those of recorded durations, in seconds, with three digits.
type Quantiles struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

// Histogram records durations. It is not safe for concurrent use.
type Histogram struct {
	unit   time.Duration
	max    int64 // in units
	values *hdrhistogram.Histogram
}

// New returns an empty histogram that counts in whole units. Durations above max count as max.
func New(unit, max time.Duration) *Histogram {
	units := int64(max / unit)
	return &Histogram{unit: unit, max: units, values: hdrhistogram.New(1, units, digits)}
}

// Record adds a duration, which must not be negative.
func (h *Histogram) Record(d time.Duration) { h.values.RecordValue(min(int64(d/h.unit), h.max)) }

// Mean returns the mean in seconds.
func (h *Histogram) Mean() float64 { return h.values.Mean() * h.unit.Seconds() }

// Quantiles returns the quantiles of all durations recorded so far.
func (h *Histogram) Quantiles() Quantiles {
	at := func(percent float64) float64 {
		return (time.Duration(h.values.ValueAtPercentile(percent)) * h.unit).Seconds()
	}
	return Quantiles{
		Count: uint64(h.values.TotalCount()),
		P50:   at(50),
		P90:   at(90),
		P99:   at(99),
		P999:  at(99.9),
		Max:   at(100),
	}
}
