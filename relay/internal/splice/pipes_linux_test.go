package splice

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

// openPipes returns the number of pipe ends that this process has open.
func openPipes(t testing.TB) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// TestBulkUsesPipesAndLeavesNone also checks that every byte is counted.
func TestBulkUsesPipesAndLeavesNone(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			before := openPipes(t)
			c := NewCarrier()
			r := carry(t, c, network)
			b := make([]byte, 64<<20)
			var sending sync.WaitGroup
			sending.Go(func() { r.client.Write(b) })
			io.CopyN(io.Discard, r.target, 1<<20)
			eventually(t, "a pipe in use", func() bool { return openPipes(t) > before })
			io.CopyN(io.Discard, r.target, int64(len(b)-1<<20))
			sending.Wait()
			eventually(t, "all bytes counted", func() bool { return r.bytesIn.Load() == uint64(len(b)) })
			eventually(t, "all pipes free, with all connections at rest", func() bool { // soon after the count
				c.pipes.mu.Lock()
				defer c.pipes.mu.Unlock()
				return c.pipes.all == len(c.pipes.free)
			})
			c.Trim(false)
			c.Trim(false)
			if n := openPipes(t); n != before {
				t.Errorf("%d ends of pipes are left", n-before)
			}
		})
	}
}

func TestBytesGoThroughBuffersWithoutPipes(t *testing.T) {
	c := NewCarrier()
	c.pipes.limit = 0
	r := carry(t, c, "tcp")
	sent := make([]byte, 3<<20)
	rand.Read(sent)
	for _, way := range []struct{ from, to net.Conn }{{r.client, r.target}, {r.target, r.client}} {
		var sending sync.WaitGroup
		sending.Go(func() { way.from.Write(sent); way.from.(*net.TCPConn).CloseWrite() })
		got, err := io.ReadAll(way.to)
		sending.Wait()
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d of %d bytes came through, %v", len(got), len(sent), err)
		}
	}
	if c.pipes.all != 0 {
		t.Errorf("%d pipes", c.pipes.all)
	}
}

// A flow that has only small buffers, since all others are in use, still finds out that it has much
// to carry.
func TestBulkWithoutRoomForBuffers(t *testing.T) {
	c := NewCarrier()
	c.room.Store(0)
	c.pipes.limit = 0
	r := carry(t, c, "tcp")
	const size = 3 << 20
	var sending sync.WaitGroup
	sending.Go(func() { r.client.Write(make([]byte, size)) })
	b := make([]byte, size)
	for n := 0; n < size; {
		more, err := r.target.Read(b)
		must(t, err)
		n += more
	}
	sending.Wait()
	eventually(t, "all bytes counted", func() bool { return r.bytesIn.Load() == size })
	if got := c.room.Load(); got != 0 {
		t.Errorf("room for %d bytes", got)
	}
}
