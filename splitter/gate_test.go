package splitter

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/linebuf"
)

// Connections that have delivered a line and wait at the gate for their next read hold no buffer.
func TestConnectionsAtTheGateHoldNoBuffer(t *testing.T) {
	const senders, readSize = 4 * gateWidth, 16 << 10
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pool, out := linebuf.NewPool(plenty), make(chan *linebuf.Buffer)
	s := New(pool, out, Options{ReadSize: readSize})
	hard, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(hard, hard, ln)
	}()
	defer func() {
		cancel()
		<-served
	}()
	for range senders {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
	}
	for range senders - gateWidth { // the others fill the gate, since nothing takes their buffers
		pool.Put(<-out)
	}
	maxInUse := int64(gateWidth * (readSize + linebuf.ClassSize(1)))
	deadline := time.Now().Add(wait)
	for pool.InUse() > maxInUse {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes in use; %d connections in the gate need %d", pool.InUse(), gateWidth, maxInUse)
		}
		time.Sleep(time.Millisecond)
	}
}

// A long line that grows needs memory and a place in the gate at one time. Connections that got one
// gave it back while they waited for the other: where many did so, their lines hardly grew,
// although workers had nothing to do, and the line timeout cut senders off.
func TestLongLinesGrowWhileTheGateIsContended(t *testing.T) {
	r := newRig(t, listenTCP(t), 32<<20, Options{Tuning: Tuning{MaxLine: 4 << 20}})
	ctx, cancel := context.WithCancel(t.Context())
	var contending sync.WaitGroup
	defer contending.Wait()
	defer cancel()
	for range 2 * gateWidth {
		contending.Go(func() {
			for ctx.Err() == nil {
				r.Splitter.gate <- struct{}{}
				time.Sleep(time.Millisecond)
				<-r.Splitter.gate
			}
		})
	}
	for range 4 {
		contending.Go(func() {
			for ctx.Err() == nil {
				if b, err := r.pool.Get(ctx, 8<<20); err == nil {
					time.Sleep(time.Millisecond)
					r.pool.Put(b)
				}
			}
		})
	}
	line := strings.Repeat("x", 3<<20) + "\n"
	c := dial(t, r.addr)
	var writing sync.WaitGroup
	defer writing.Wait()
	begin := time.Now()
	writing.Go(func() { write(t, c, line) })
	r.wants(line)
	if took := time.Since(begin); took > wait/4 { // it was about 20 s
		t.Errorf("a line of 3 MiB took %v", took)
	}
}
