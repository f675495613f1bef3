package splitter

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"linesplit/linebuf"
)

// benchServe serves ln until the benchmark ends.
func benchServe(b *testing.B, ln net.Listener, o Options) (*linebuf.Pool, <-chan *linebuf.Buffer, *Splitter) {
	pool := linebuf.NewPool(256 << 20)
	out := make(chan *linebuf.Buffer, 128)
	s := New(pool, out, o)
	hard, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(hard, hard, ln) }()
	b.Cleanup(func() {
		cancel()
		<-served
	})
	return pool, out, s
}

// Each iteration is one buffer of 600-byte lines from a loopback connection.
func BenchmarkSocket(b *testing.B) {
	ln := listenTCP(b)
	benchSender(b, ln, func() net.Conn { return dial(b, ln.Addr()) })
}

func BenchmarkTLS(b *testing.B) {
	ln := listenTLS(b)
	benchSender(b, ln, func() net.Conn { return dialTLS(b, ln.Addr(), tls.VersionTLS13) })
}

func benchSender(b *testing.B, ln net.Listener, dial func() net.Conn) {
	pool, out, _ := benchServe(b, ln, Options{})
	c := dial()
	in := []byte(numbered(0, 2000, 600))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := c.Write(in); err != nil {
				return
			}
		}
	}()
	for range 1000 { // until buffers and stacks have their final sizes
		pool.Put(<-out)
	}
	var bytes, lines int64
	b.ReportAllocs()
	for b.Loop() {
		buf := <-out
		bytes += int64(len(buf.B))
		lines += int64(buf.Lines)
		pool.Put(buf)
	}
	b.SetBytes(bytes / int64(b.N))
	b.ReportMetric(float64(lines)/float64(b.N), "lines/op")
	c.Close()
	if t, ok := c.(*tls.Conn); ok {
		t.NetConn().Close()
	}
	for { // the sender's last bytes may find the channel full
		select {
		case buf := <-out:
			pool.Put(buf)
		case <-done:
			return
		}
	}
}

// Each iteration is one line, written once the last one has come out.
func BenchmarkSingleLines(b *testing.B) {
	ln := listenTCP(b)
	pool, out, _ := benchServe(b, ln, Options{})
	c := dial(b, ln.Addr())
	line := []byte(numbered(0, 1, 600))
	b.ReportAllocs()
	for b.Loop() {
		c.Write(line)
		pool.Put(<-out)
	}
	c.Close()
}
