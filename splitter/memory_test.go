package splitter

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"linesplit/internal/intake"
)

// With hundreds of senders, each with an unfinished line of a megabyte, and a budget of 32 MiB, the
// budget holds and good senders go on. The integration tests have a thousand senders.
func TestUnfinishedLinesStayWithinTheBudget(t *testing.T) {
	for _, tc := range []struct {
		name   string
		listen func(testing.TB) net.Listener
		dial   func(testing.TB, net.Addr) net.Conn
		n      int
		budget int64
	}{
		{"plain", listenTCP, dial, 300, 32 << 20},
		{"tls", listenTLS, func(t testing.TB, a net.Addr) net.Conn { return dialTLS(t, a, 0) }, 100, 8 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			unfinishedLines(t, tc.listen(t), tc.dial, tc.n, tc.budget)
		})
	}
}

func unfinishedLines(t *testing.T, ln net.Listener, dial func(testing.TB, net.Addr) net.Conn, n int, budget int64) {
	const size = 1<<20 - 1
	r := newRig(t, ln, budget, Options{})
	chunk := bytes.Repeat([]byte("x"), size/15)
	var senders sync.WaitGroup
	var bad []net.Conn
	for range n {
		c := dial(t, r.addr)
		bad = append(bad, c)
		senders.Go(func() {
			for range 15 {
				if _, err := c.Write(chunk); err != nil {
					t.Error(err)
				}
			}
		})
	}
	peak := watchMemory(r)

	good := dial(t, r.addr)
	for i := range 200 {
		write(t, good, fmt.Sprintf("good %d\n", i))
		r.until("a good line", func() bool { return r.Stats().Queued.Lines == uint64(i+1) })
	}
	senders.Wait() // all of their bytes are read although no line has ended
	used := peak()
	if used > budget+budget/8 {
		t.Errorf("%d bytes were in use, of %d", used, budget)
	}
	keeps := uint64(budget / 2 >> 20)
	r.until("all but what fits to be dropped", func() bool {
		return r.charged() <= budget/2 && dropped(r.Stats(), intake.ReasonMemory).Lines >= uint64(n)-keeps
	})
	for _, c := range bad {
		write(t, c, "\nnext\n")
		c.Close()
	}
	r.until("the senders' end", func() bool { return r.Stats().Connections == 1 })
	good.Close()
	st := r.end()
	if want := uint64(200 + 2*n); st.Received.Lines != want {
		t.Errorf("received %d lines, want %d", st.Received.Lines, want)
	}
	if want := uint64(n * (len(chunk)*15 + 6)); st.Received.Bytes < want {
		t.Errorf("received %d bytes, want %d and the good ones", st.Received.Bytes, want)
	}
	d := dropped(st, intake.ReasonMemory)
	t.Logf("peak %d KiB, dropped %+v", used>>10, d)
	if got := bytes.Count([]byte(r.output()), []byte("next\n")); got != n {
		t.Errorf("%d of %d senders went on after their dropped line", got, n)
	}
}

// watchMemory measures the pool's use until peak is called, which returns its maximum.
func watchMemory(r *rig) (peak func() int64) {
	var maxInUse int64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				maxInUse = max(maxInUse, r.pool.InUse())
			}
		}
	})
	return func() int64 {
		close(stop)
		watch.Wait()
		return maxInUse
	}
}

// The longest line is dropped first, whatever its connection waits for, and the reading
// connection's own line if that is the longest.
func TestLongestUnfinishedLineIsDropped(t *testing.T) {
	r := newRig(t, listenTCP(t), 1<<20, Options{ReadSize: 4096})
	long, short := dial(t, r.addr), dial(t, r.addr)
	write(t, long, string(bytes.Repeat([]byte("l"), 300<<10)))
	r.until("the long line", func() bool { return r.charged() == 512<<10 })
	write(t, short, string(bytes.Repeat([]byte("s"), 100<<10)))
	r.until("the long line to be dropped", func() bool {
		return dropped(r.Stats(), intake.ReasonMemory).Lines == 1 && r.charged() <= 256<<10
	})
	write(t, short, "\n")
	r.until("the short line", func() bool { return r.Stats().Queued.Lines == 1 })
	write(t, long, "l\ngood\n")
	r.until("the next line", func() bool { return r.Stats().Queued.Lines == 2 })
	if d := dropped(r.Stats(), intake.ReasonMemory); d.Bytes != 300<<10+2 {
		t.Errorf("dropped %+v", d)
	}
	write(t, long, string(bytes.Repeat([]byte("l"), 600<<10)))
	r.until("its own line to be dropped", func() bool { return dropped(r.Stats(), intake.ReasonMemory).Bytes == 900<<10+2 })
	write(t, long, "\n")
	r.until("the line's end", func() bool { return dropped(r.Stats(), intake.ReasonMemory).Bytes == 900<<10+3 })
	long.Close()
	short.Close()
	r.end()
}

// An endless line costs one read buffer, and does not affect other senders.
func TestEndlessLineCostsOneBuffer(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{})
	bad, good := dial(t, r.addr), dial(t, r.addr)
	sent := make(chan struct{})
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	go func() {
		defer close(sent)
		for range 64 {
			bad.Write(chunk)
		}
	}()
	for i := range 100 {
		write(t, good, fmt.Sprintf("good %d\n", i))
		r.until("a good line", func() bool { return r.Stats().Queued.Lines == uint64(i+1) })
		if n := r.pool.InUse(); n > 4<<20 {
			t.Errorf("%d bytes in use", n)
		}
	}
	<-sent
	io.WriteString(bad, "\nafter\n")
	bad.Close()
	r.until("the line behind it", func() bool { return r.Stats().Queued.Lines == 101 })
	good.Close()
	if d := dropped(r.end(), intake.ReasonOversize); d.Lines != 1 || d.Bytes != 64<<20+1 {
		t.Errorf("dropped %+v", d)
	}
}
