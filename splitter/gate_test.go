package splitter

import (
	"context"
	"net"
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
