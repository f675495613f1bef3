package upstream

import (
	"fmt"
	"io"
	"net/netip"
	"testing"

	"linesplit/target"
)

func BenchmarkChoose(b *testing.B) {
	for _, name := range balancerNames {
		b.Run(name, func(b *testing.B) {
			o := Options{Balance: name}
			for i := range 8 {
				o.Targets = append(o.Targets, newTarget(b, fmt.Sprintf("10.0.0.%d:80", i+1)))
			}
			g := newTestSet(o).Streams
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				g.release(g.TryAcquire(addr(i), nil))
			}
		})
	}
}

// BenchmarkLongQueue measures one pass over 10,000 waiters that no backend can take. It does not
// look at all backends again for each waiter.
func BenchmarkLongQueue(b *testing.B) {
	full := target.New(target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.1:80", MaxConnections: 1}, nil)
	down := target.New(target.Address{Scheme: target.SchemeTCP, Host: "10.0.0.2:80"}, nil)
	down.CheckedDown(io.EOF)
	g := newTestSet(Options{Targets: []*target.Target{full, down}}).Streams
	g.TryAcquire(netip.Addr{}, nil)
	for range 10_000 {
		g.Acquire(netip.Addr{}, nil)
	}
	for b.Loop() {
		g.ServeQueue()
	}
}
