package target

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// writing is a Write that is running.
type writing struct {
	done sync.WaitGroup
	n    int
	err  error
}

func startWrite(c *Conn, p []byte, waiting func() error) *writing {
	w := new(writing)
	w.done.Go(func() { w.n, w.err = c.Write(p, waiting) })
	return w
}

// failed waits until the connection has failed and returns its Progress.
func failed(t *testing.T, c *Conn) Progress {
	t.Helper()
	eventually(t, "the connection to fail", func() bool { return c.Progress().Err != nil })
	return c.Progress()
}

// sawFIN waits for the peer's FIN.
func sawFIN(t *testing.T, c *Conn) Progress {
	t.Helper()
	eventually(t, "the peer's FIN", func() bool { return c.Progress().FIN })
	return c.Progress()
}

func allAcked(t *testing.T, c *Conn) {
	t.Helper()
	eventually(t, "everything to be acknowledged", func() bool { p := c.Progress(); return p.Acked == p.Written })
}

// event waits until Events delivers, as a worker does.
func event(t *testing.T, c *Conn) {
	t.Helper()
	select {
	case <-c.Events():
	case <-time.After(wait):
		t.Fatal("no event")
	}
}

// A peer dies in the middle of the stream: Acked counts exactly the bytes that it had, read or not.
func TestAckedIsExactAfterReset(t *testing.T) {
	t.Parallel()
	data := pattern(32 << 20)
	for _, read := range []int{0, 1, 1000, 65537, 1 << 20, 5<<20 + 12345} {
		t.Run(fmt.Sprint(read), func(t *testing.T) {
			t.Parallel()
			c, peer := connectPlain(t, SchemeTCP, Options{})
			setReceiveBuffer(t, peer, 1<<20) // otherwise it may grow to hold everything
			w := startWrite(c, data, patient())
			readN(t, peer, read)
			want := uint64(read + settled(t, c, peer))
			eventually(t, "Acked to be what the peer has", func() bool { return c.Progress().Acked >= want })
			before := c.Progress()
			reset(t, peer)
			w.done.Wait()
			if w.err == nil {
				t.Fatalf("Write = %d, nil to a peer that died", w.n)
			}
			if before.Acked != want {
				t.Errorf("before the end: Acked = %d, want %d", before.Acked, want)
			}
			p := failed(t, c)
			if p.Acked != want || p.Written != uint64(w.n) {
				t.Errorf("Acked = %d, Written = %d; want %d, %d", p.Acked, p.Written, want, w.n)
			}
			if p.Err != w.err || p.AllRead || p.FIN {
				t.Errorf("%+v; want the error of Write, %v, no FIN and no AllRead", p, w.err)
			}
			again := c.Progress()
			c.Close()
			closed := c.Progress()
			if again.Acked != want || closed.Acked != want {
				t.Errorf("Acked = %d on the second look and %d after Close, want %d", again.Acked, closed.Acked, want)
			}
		})
	}
}

// Progress combines the kernel's count with the number of bytes sent. It must load that number
// before it asks the kernel: a write may end between the two.
func TestAckedIsNeverTooHighDuringAWrite(t *testing.T) {
	for _, scheme := range []string{SchemeTCP, SchemeUnix} {
		c, _ := connectPlain(t, scheme, Options{})
		mustWrite(t, c, pattern(1000))
		if scheme == SchemeTCP {
			allAcked(t, c)
		}
		look := c.look
		c.mu.Lock()
		c.look = func(fd uintptr) {
			look(fd)
			c.sent.Add(5000) // as if a write ended right after the look
		}
		c.countLocked(time.Now())
		acked := c.ackedWire
		c.mu.Unlock()
		if acked > 1000 {
			t.Errorf("%s: %d bytes acknowledged of 1000 that the kernel had when it was asked", scheme, acked)
		}
	}
}

// lookWhileWriting writes p and calls Progress as often as a worker does.
func lookWhileWriting(c *Conn, p []byte, waiting func() error) (err error) {
	const every = 256 << 10
	for len(p) > 0 && err == nil {
		n := min(every, len(p))
		_, err = c.Write(p[:n], func() error { c.Progress(); return waiting() })
		c.Progress()
		p = p[n:]
	}
	return err
}

func writeLooking(t *testing.T, c *Conn, p []byte) {
	t.Helper()
	if err := lookWhileWriting(c, p, patient()); err != nil {
		t.Fatal(err)
	}
}

// A peer that has read fast stops. The worst moment is while its window is still growing: unread
// bytes hide in the growth. On a busy machine the writer may rest while the window is at its
// widest, which nothing shows afterwards, so the test looks whenever it has read, too. Megabytes
// may be hidden then, which the distance that Read keeps from Acked must cover.
func TestUnreadRises(t *testing.T) {
	t.Parallel()
	c, peer := connectPlain(t, SchemeTCP, Options{Margin: 64 << 10, Retain: 1 << 30})
	data := pattern(32 << 20)
	var w sync.WaitGroup
	w.Go(func() {
		for lookWhileWriting(c, data, patient()) == nil {
		}
	})
	const read, piece = 4 << 20, 64 << 10
	for range read / piece {
		readN(t, peer, piece)
		c.Progress()
	}
	unread := settled(t, c, peer)
	p := c.Progress()
	t.Logf("the peer holds %d, Unread = %d, distance %d", unread, p.Unread, p.Acked-p.Read)
	if p.Unread == 0 {
		t.Errorf("Unread = 0, the peer holds %d", unread)
	}
	if p.Read > read {
		t.Errorf("Read = %d, the peer has read %d", p.Read, read)
	}
	if p.RoundTrip <= 0 {
		t.Errorf("RoundTrip = %v", p.RoundTrip)
	}
	if p.Silent > time.Second { // a probe may be waiting for its answer
		t.Errorf("Silent = %v though the peer answers", p.Silent)
	}
	reset(t, peer)
	w.Wait()
}

// A receiver that reads in bursts does not announce that it has read the last kilobytes; the answer
// to a keepalive does. Its window may not come back to the width that it once had; then it is
// enough that the window is stable.
func TestUnreadFallsWhenQuiet(t *testing.T) {
	t.Parallel()
	const margin = 1 << 10
	for _, size := range []int{100, 4 << 10, 128 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			// Two answers to keepalives, a second apart, come after the last read; the rest is
			// reserve.
			const quiet = 6 * time.Second
			c, peer := connectPlain(t, SchemeTCP, Options{Margin: margin, Retain: 8 << 20})
			data := pattern(min(6<<20, 20000*size))
			var w sync.WaitGroup
			w.Go(func() {
				for p := data; len(p) > 0; p = p[min(size, len(p)):] {
					if err := lookWhileWriting(c, p[:min(size, len(p))], patient()); err != nil {
						t.Error(err)
						return
					}
				}
			})
			for left := len(data); left > 0; {
				time.Sleep(100 * time.Millisecond) // the burst
				n := min(left, max(len(data)/8, held(t, peer)))
				readN(t, peer, n)
				left -= n
			}
			w.Wait()
			start := time.Now()
			p := c.Progress()
			for !p.SeemsRead() && time.Since(start) < quiet {
				time.Sleep(10 * time.Millisecond)
				p = c.Progress()
			}
			t.Logf("after %v: %+v, %+v", time.Since(start), p, c.estimate)
			// Linux may end with a window of megabytes some per cent narrower than it was a moment
			// ago, and only more lines tell that from unread ones.
			if tolerance := c.estimate.peak / 16; !p.SeemsRead() && p.Unread > tolerance {
				t.Errorf("%d bytes seem unread, more than %d, though everything was read", p.Unread, tolerance)
			}
			if p.Unread == 0 {
				eventually(t, "Read to come up to the margin", func() bool {
					p := c.Progress()
					return p.Read == p.Acked-margin-c.estimate.doubt // which lowerPeak may have left
				})
			}
			if p := c.Progress(); p.Acked != uint64(len(data)) {
				t.Errorf("Acked = %d of %d", p.Acked, len(data))
			}
		})
	}
}

// A receiver whose buffer small segments have filled completely shrinks its window and has to find
// its size again.
func TestUnreadFallsAfterAnOverflow(t *testing.T) {
	t.Parallel()
	c, peer := connectPlain(t, SchemeTCP, Options{})
	enough := errors.New("enough")
	var err error
	for blocked := 0; err == nil; {
		err = lookWhileWriting(c, []byte("a short line\n"), func() error {
			if blocked++; blocked == 3 {
				return enough
			}
			return nil
		})
	}
	if err != enough {
		t.Fatal(err)
	}
	if p := c.Progress(); p.Unread == 0 {
		t.Errorf("%+v though the peer's buffer is full", p)
	}
	got := collect(peer)
	eventually(t, "everything to count as read", func() bool {
		p := c.Progress()
		return p.SeemsRead() && p.Acked == p.Written
	})
	c.Close()
	got.done.Wait()
}
