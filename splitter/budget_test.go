package splitter

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"linesplit/internal/intake"
)

// Buffers shrink to their lines before any line is dropped.
func TestBuffersShrinkBeforeLinesAreDropped(t *testing.T) {
	const n, size = 26, 12_400 // 416 KiB in the smallest buffers, and 832 KiB in those that reads leave
	r := newRig(t, listenTCP(t), 2<<20, Options{Tuning: Tuning{MaxLine: 64 << 10}})
	var conns []net.Conn
	for range n {
		c := dial(t, r.addr)
		write(t, c, strings.Repeat("x", size))
		conns = append(conns, c)
	}
	r.until("all lines to be held", func() bool {
		var read uint64
		for _, c := range r.Connections(n) {
			read += c.Bytes
		}
		return read == n*size
	})
	for _, c := range conns {
		write(t, c, "\n")
	}
	r.until("all lines", func() bool { return r.Stats().Received.Lines == n })
	if d := dropped(r.Stats(), intake.ReasonMemory); d.Lines != 0 {
		t.Errorf("dropped %+v", d)
	}
	for _, c := range conns {
		c.Close()
	}
	r.end()
}

// Senders over TLS that keep their connections awake held a read buffer each, which was charged to
// nothing, until there was no memory left to read into.
func TestAwakeConnectionsDoNotTakeAllMemory(t *testing.T) {
	const n = 100
	r := newRig(t, listenTLS(t), 1<<20, Options{Tuning: Tuning{MaxLine: 64 << 10}})
	chunk := bytes.Repeat([]byte("x"), 599)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	var conns []net.Conn
	for range n {
		conns = append(conns, dialTLS(t, r.addr, 0))
	}
	go func() {
		defer close(stopped)
		for {
			for _, c := range conns {
				select {
				case <-stop:
					return
				default:
					c.SetWriteDeadline(time.Now().Add(wait))
					c.Write(append(chunk, '\n'))
				}
			}
		}
	}()
	r.until("all to be awake", func() bool { return r.Stats().Queued.Lines > 10*n })
	if used := r.pool.InUse(); used > 1<<20 {
		t.Errorf("%d bytes in use", used)
	}
	if used := r.streams.Usage(); used.Awake > used.AwakeMax {
		t.Errorf("%d bytes charged for read buffers", used.Awake)
	}
	good := dialTLS(t, r.addr, 0)
	for i := range 20 {
		before := r.Stats().Queued.Lines
		write(t, good, fmt.Sprintf("good %d\n", i))
		r.until("lines", func() bool { return r.Stats().Queued.Lines > before })
	}
	close(stop)
	<-stopped
	good.Close()
	for _, c := range conns {
		c.Close()
	}
	r.until("the end", func() bool { return r.Stats().Connections == 0 })
	if got := strings.Count(r.output(), "good"); got != 20 {
		t.Errorf("%d of 20 lines", got)
	}
	r.end()
}
