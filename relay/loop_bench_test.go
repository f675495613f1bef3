package relay

import (
	"io"
	"net"
	"sync"
	"testing"
)

// servePeer serves connections until the benchmark ends. It returns the address.
func servePeer(b *testing.B, serve func(net.Conn)) string {
	ln := listenAt(b, "tcp", "127.0.0.1:0")
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	b.Cleanup(func() {
		ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

func dialRelay(b *testing.B, to string) net.Conn {
	c, err := net.Dial("tcp", start(b, Options{}, to).ln.Addr().String())
	must(b, err)
	return c
}

// One op is 100 bytes to a target and back on a connection that stays open. Client and target are
// in this process, too, so that the result serves only to compare two states of the code and to
// count allocations.
func BenchmarkRoundTrip(b *testing.B) {
	c := dialRelay(b, servePeer(b, func(c net.Conn) {
		for buf := make([]byte, 100); ; {
			if _, err := io.ReadFull(c, buf); err != nil {
				return
			}
			c.Write(buf)
		}
	}))
	buf := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
}

// One op is 64 KiB to a target that discards them.
func BenchmarkStream(b *testing.B) {
	c := dialRelay(b, servePeer(b, func(c net.Conn) {
		for buf := make([]byte, 256<<10); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}))
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
}

// One op is a connection with 100 bytes in each direction.
func BenchmarkShortConnection(b *testing.B) {
	addr := servePeer(b, func(c net.Conn) {
		buf := make([]byte, 100)
		if _, err := io.ReadFull(c, buf); err == nil {
			c.Write(buf)
		}
	})
	through := start(b, Options{}, addr).ln.Addr().String()
	buf := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", through)
		must(b, err)
		c.Write(buf)
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
