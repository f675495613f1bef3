package splitter

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Under a shortage of memory a loop with many connections came late to a sender whose line had long
// been complete in the kernel, and dropped the half of it that it had read.
func TestEvictionReadsTheRestOfALineFirst(t *testing.T) {
	if *loopsFlag == 0 {
		t.Skip("without event loops")
	}
	const half = "half of a line, and "
	for _, rest := range []string{"the rest\n", "more of it"} {
		ln := listenTCP(t)
		r := newRig(t, ln, plenty, Options{})
		nc := dial(t, ln.Addr())
		write(t, nc, half)
		r.untilRead(len(half))
		c := r.registry.newest(1)[0]
		busy, release := make(chan struct{}), make(chan struct{})
		c.loop.on.Post(func() { // the loop comes late
			close(busy)
			<-release
			r.evictNow(c)
		})
		<-busy
		write(t, nc, rest)
		r.until("it arrives", func() bool {
			n, err := unix.IoctlGetInt(c.loop.fd.Int(), unix.SIOCINQ)
			return err == nil && n == len(rest)
		})
		close(release)
		nc.Close()
		if rest[len(rest)-1] == '\n' {
			r.wants(half + rest)
			continue
		}
		r.until("the line is dropped", func() bool { return dropped(r.Stats(), reasonMemory).Lines == 1 })
	}
}

// evictNow asks the only connection that has a charge to give all of it back, and lets it obey.
func (r *rig) evictNow(c *conn) {
	r.budget.mu.Lock()
	if r.budget.popIdlestLocked() != c {
		r.t.Error("the connection is not in the heap")
	}
	c.leaving = c.charge.Load()
	r.budget.leaving += c.leaving
	c.evict()
	r.budget.mu.Unlock()
	c.obeyEviction()
}
