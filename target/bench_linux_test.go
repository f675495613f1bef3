package target

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// swallow reads everything that peer receives and discards it, without splice.
func swallow(peer net.Conn) {
	buf := make([]byte, 256<<10)
	go func() {
		for {
			if _, err := peer.Read(buf); err != nil {
				return
			}
		}
	}()
}

func plainPair(t testing.TB) *Conn {
	c, peer := connectPlain(t, SchemeTCP, Options{Margin: 64 << 10, Retain: 8 << 20})
	swallow(peer)
	return c
}

func securePair(t testing.TB) *Conn {
	c, peer := tlsPair(t, tls.VersionTLS13, nil)
	swallow(peer)
	return c
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	waiting := func() error { return nil }
	buf := make([]byte, 16<<10)
	plain, secure := plainPair(t), securePair(t)
	unix, peer := connectPlain(t, SchemeUnix, Options{})
	swallow(peer)
	known, knownPeer := connectPlain(t, SchemeTCP, Options{PeerLookup: true})
	swallow(knownPeer)
	for name, f := range map[string]func(){
		"Progress with peer lookup":      func() { known.Progress() },
		"Write":                          func() { plain.Write(buf, waiting) },
		"Write to a Unix socket":         func() { unix.Write(buf, waiting) },
		"Progress":                       func() { plain.Progress() },
		"Progress of a Unix socket":      func() { unix.Progress() },
		"Write and Progress through TLS": func() { secure.Write(buf, waiting); secure.Progress() },
	} {
		if allocs := testing.AllocsPerRun(2000, f); allocs >= 1 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func benchmarkWrite(b *testing.B, c *Conn) {
	buf := make([]byte, 16<<10)
	waiting := func() error { return nil }
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := c.Write(buf, waiting); err != nil {
			b.Fatal(err)
		}
		if i%16 == 15 {
			c.Progress() // as often as a worker asks
		}
	}
}

func BenchmarkWrite(b *testing.B)    { benchmarkWrite(b, plainPair(b)) }
func BenchmarkWriteTLS(b *testing.B) { benchmarkWrite(b, securePair(b)) }

func BenchmarkProgress(b *testing.B) {
	c := plainPair(b)
	c.Write([]byte("x\n"), func() error { return io.EOF })
	b.ReportAllocs()
	for b.Loop() {
		c.Progress()
	}
}

func BenchmarkProgressWithPeerLookup(b *testing.B) {
	c, peer := connectPlain(b, SchemeTCP, Options{PeerLookup: true})
	swallow(peer)
	c.Write([]byte("x\n"), func() error { return io.EOF })
	b.ReportAllocs()
	for b.Loop() {
		c.Progress()
	}
}
