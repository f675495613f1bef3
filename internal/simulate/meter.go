package simulate

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/internal/simulate/console"
	"linesplit/linebuf"
)

// rateWindow is the time over which rates and shares are measured: long enough to be readable,
// short enough to show a failover.
const rateWindow = time.Second

// barWidth is in characters. Three bars fit on a terminal of 80 columns.
const barWidth = 6

// meter turns counters into rates. It belongs to one goroutine.
type meter struct{ past []sample }

// newMeter returns a meter for targets that have read this much so far.
func newMeter(now time.Time, read []linebuf.Count) *meter {
	return &meter{past: []sample{newSample(now, read)}}
}

// sample holds what the targets' applications had read at one time.
type sample struct {
	at    time.Time
	lines []uint64 // by target
	bytes uint64
}

func newSample(now time.Time, read []linebuf.Count) sample {
	s := sample{at: now}
	for _, target := range read {
		s.lines = append(s.lines, target.Lines)
		s.bytes += target.Bytes
	}
	return s
}

// line returns the progress line: the lines that have arrived, the rate, and each target's share
// of it.
func (m *meter) line(now time.Time, read []linebuf.Count, victimDown bool) string {
	cur := newSample(now, read)
	var total uint64
	for _, lines := range cur.lines {
		total += lines
	}
	old := m.advance(cur)
	seconds := max(cur.at.Sub(old.at).Seconds(), 1e-3)

	var b strings.Builder
	fmt.Fprintf(&b, "%9s lines %5.1f MB/s", humanize.Comma(int64(total)), float64(cur.bytes-old.bytes)/1e6/seconds)
	var all uint64
	for i, n := range cur.lines {
		all += n - old.lines[i]
	}
	for i, n := range cur.lines {
		if victimDown && i == victim {
			fmt.Fprintf(&b, "  %d %-*s", i+1, barWidth+4, "down")
			continue
		}
		b.WriteString("  " + bar(i+1, n-old.lines[i], all))
	}
	return strings.TrimRight(b.String(), " ")
}

// advance adds a sample and returns the one about a rateWindow older, or the oldest.
func (m *meter) advance(cur sample) sample {
	m.past = append(m.past, cur)
	for len(m.past) > 2 && cur.at.Sub(m.past[1].at) >= rateWindow-console.LiveInterval/4 {
		m.past = m.past[1:]
	}
	return m.past[0]
}

// bar shows a target's share of what arrived.
func bar(number int, part, all uint64) string {
	if all == 0 {
		all = 1
	}
	return fmt.Sprintf("%d %s%3d%%", number, console.Bar(float64(part)/float64(all), barWidth), (part*100+all/2)/all)
}
