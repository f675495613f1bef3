//go:build linux

package section

import (
	"context"
	"time"

	"linesplit/bench/report"
)

// Kind is a kind of measurement, a value of -only.
type Kind struct {
	Name, Title string
	seconds     func(*Bench) float64 // estimate of its duration
	run         func(*Bench, context.Context) ([]report.Section, error)
}

// Kinds returns all kinds in the order in which they run: line mode, connection mode, both modes.
func Kinds() []*Kind {
	return []*Kind{
		{"throughput", "line mode", (*Bench).throughputTime, (*Bench).throughput},
		{"latency", "line mode", (*Bench).latencyTime, (*Bench).latency},
		{"trickle", "line mode, processor time of single lines", (*Bench).trickleTime, (*Bench).trickle},
		{"idle", "line mode, memory of idle connections", (*Bench).idleTime, (*Bench).idle},
		{"rest", "line mode, processor time at rest", (*Bench).restTime, (*Bench).rest},
		{"spool", "line mode, lines on disk", (*Bench).spoolTime, (*Bench).spool},
		{"senders", "line mode, one sender and very many", (*Bench).sendersTime, (*Bench).senders},
		{"bulk", "connection mode", (*Bench).bulkTime, (*Bench).bulk},
		{"connections", "connection mode", (*Bench).connectionsTime, (*Bench).connections},
		{"roundtrip", "connection mode", (*Bench).roundtripTime, (*Bench).roundtrip},
		{"idle-pairs", "connection mode, memory of idle pairs", (*Bench).pairsTime, (*Bench).idlePairs},
		{"tls", "both modes, TLS in, out and both", (*Bench).tlsTime, (*Bench).tls},
		{"link", "both modes, targets in another network namespace", (*Bench).linkTime, (*Bench).link},
		{"factors", "both modes, one factor at a time", (*Bench).factorsTime, (*Bench).factors},
	}
}

// Seconds returns an estimate of how long the measurement takes.
func (k *Kind) Seconds(b *Bench) float64 { return k.seconds(b) }

// Run runs the measurement.
func (k *Kind) Run(ctx context.Context, b *Bench) ([]report.Section, error) {
	b.seconds = k.seconds(b)
	return k.run(b, ctx)
}

// sizes say how much one repetition moves.
type sizes struct {
	line        int           // bytes, newline included
	throughput  int64         // bytes
	first       int64         // bytes of it that count as those after the start
	check       int64         // bytes of the run in which every line is checked
	seconds     int           // duration of a latency run
	rate        int           // lines or round trips per second
	idle        int           // connections
	bulk        int64         // bytes
	calls       int           // short connections
	trips       int           // round trips
	settle      time.Duration // time without change after which memory counts as settled
	rest        time.Duration // for which the processor time of a resting proxy is measured
	tls         int64         // bytes
	crowd       int           // senders at once, as many as there can be
	senderBytes int64         // of one sender, or of the crowd
	spool       int64         // bytes
	outage      int64         // bytes that are sent while no target is there
	killed      int           // lines that a proxy has read when it is killed
	quiet       time.Duration // without lines, after which no more of them are expected
	link        int64         // bytes
	factor      int64         // bytes

	lines, senders, targets, workers []int // values of the factors, each varied while the others stay at the base point
}

var (
	fullSizes = sizes{
		line: 600, throughput: 8e9, first: 2e9, check: 5e8,
		seconds: 8, rate: 4000, idle: 4000, bulk: 4e9, calls: 15000, trips: 16000,
		settle: 2 * time.Second, rest: 10 * time.Second, crowd: 1000, senderBytes: 3e9, tls: 2e9, link: 2e9, factor: 2e9,
		spool: 2e9, outage: 1e9, killed: 50_000, quiet: time.Second,
		lines: []int{100, 600, 4 << 10, 64 << 10}, senders: []int{1, 2, 10, 100, 1000},
		targets: []int{1, 2, 8, 32}, workers: []int{1, 2, 4, 8, 16},
	}
	quickSizes = sizes{
		line: 600, throughput: 5e8, first: 1e8, check: 5e7,
		seconds: 1, rate: 4000, idle: 300, bulk: 5e8, calls: 2000, trips: 3000,
		settle: 500 * time.Millisecond, rest: time.Second, crowd: 1000, senderBytes: 1e8, tls: 2e8, link: 2e8, factor: 1e8,
		spool: 1e8, outage: 1e8, killed: 20_000, quiet: 500 * time.Millisecond,
		lines: fullSizes.lines, senders: fullSizes.senders, targets: fullSizes.targets, workers: fullSizes.workers,
	}
)
