//go:build linux

package main

import (
	"context"
	"time"
)

// kind is a kind of measurement: a value of -only.
type kind struct {
	name, title string
	seconds     func(*bench) float64 // that it takes, roughly
	run         func(*bench, context.Context) ([]section, error)
}

// kinds returns all of them in the order in which they run: line mode's, then connection mode's, then those of both.
func kinds() []*kind {
	return []*kind{
		{"throughput", "line mode", (*bench).throughputTime, (*bench).throughput},
		{"latency", "line mode", (*bench).latencyTime, (*bench).latency},
		{"idle", "line mode, memory of idle connections", (*bench).idleTime, (*bench).idle},
		{"bulk", "connection mode", (*bench).bulkTime, (*bench).bulk},
		{"connections", "connection mode", (*bench).connectionsTime, (*bench).connections},
		{"roundtrip", "connection mode", (*bench).roundtripTime, (*bench).roundtrip},
		{"idle-pairs", "connection mode, memory of idle pairs", (*bench).pairsTime, (*bench).idlePairs},
		{"tls", "both modes, TLS in, out and both", (*bench).tlsTime, (*bench).tls},
		{"factors", "both modes, one factor at a time", (*bench).factorsTime, (*bench).factors},
	}
}

// Seconds returns how long it takes, roughly.
func (k *kind) Seconds(b *bench) float64 { return k.seconds(b) }

// Run measures.
func (k *kind) Run(ctx context.Context, b *bench) ([]section, error) {
	b.seconds = k.seconds(b)
	return k.run(b, ctx)
}

// sizes are what one repetition moves.
type sizes struct {
	line       int           // bytes, newline included
	throughput int64         // bytes
	check      int64         // bytes of the run whose lines are looked at
	seconds    int           // of latency
	rate       int           // lines per second of latency, and round trips
	idle       int           // connections
	bulk       int64         // bytes
	calls      int           // connections one after the other
	trips      int           // round trips
	settle     time.Duration // for which memory must stay as it is before it counts
	tls        int64         // bytes
	factor     int64         // bytes

	lines, senders, targets, workers []int // factors: each is varied while the others stay as at the base point
}

var (
	fullSizes = sizes{line: 600, throughput: 8e9, check: 5e8, seconds: 8, rate: 4000, idle: 4000, bulk: 4e9, calls: 15000, trips: 16000,
		settle: 2 * time.Second, tls: 2e9, factor: 2e9,
		lines: []int{100, 600, 4 << 10, 64 << 10}, senders: []int{1, 2, 10, 100, 1000}, targets: []int{1, 2, 8, 32}, workers: []int{1, 2, 4, 8, 16}}
	quickSizes = sizes{line: 600, throughput: 5e8, check: 5e7, seconds: 1, rate: 4000, idle: 300, bulk: 5e8, calls: 2000, trips: 3000,
		settle: 500 * time.Millisecond, tls: 2e8, factor: 1e8,
		lines: fullSizes.lines, senders: fullSizes.senders, targets: fullSizes.targets, workers: fullSizes.workers}
)
