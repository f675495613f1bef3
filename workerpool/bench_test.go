package workerpool

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// sinkConn takes and confirms everything at once.
type sinkConn struct {
	events  chan struct{}
	written uint64
	closed  bool
}

func (c *sinkConn) Write(p []byte, _ func() error) (int, error) {
	c.written += uint64(len(p))
	return len(p), nil
}

func (c *sinkConn) TryWrite(p []byte) (int, error) { return c.Write(p, nil) }

func (c *sinkConn) Progress() target.Progress {
	return target.Progress{Written: c.written, Acked: c.written, Read: c.written - min(c.written, 64<<10),
		FIN: c.closed, AllRead: c.closed}
}

func (c *sinkConn) Events() <-chan struct{} { return c.events }
func (c *sinkConn) CloseWrite() error       { c.closed = true; return nil }
func (c *sinkConn) Abort()                  {}
func (c *sinkConn) Close()                  {}

// runSinks runs a pool of workers that are connected to sinks.
func runSinks(t testing.TB, buffers *linebuf.Pool, workers int) *Pool {
	t.Helper()
	pool := New(buffers, Options{
		Connections: workers,
		Targets:     []target.Address{{Scheme: target.SchemeTCP, Host: "a:1"}},
		Dial: func(context.Context, target.Address) (Conn, error) {
			return &sinkConn{events: make(chan struct{}, 1)}, nil
		},
	})
	lines, done := make(chan *linebuf.Buffer, 32), make(chan error, 1)
	go func() { done <- pool.Run(context.WithoutCancel(t.Context()), lines) }()
	t.Cleanup(func() {
		close(lines)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for pool.Stats().Targets[0].Connections < workers {
		time.Sleep(time.Millisecond)
	}
	return pool
}

// benchBuffers sends b.N buffers of about 64 KiB each through one worker and waits for their
// confirmation.
func benchBuffers(b *testing.B, o Options) {
	const size = 64 << 10
	line := append(bytes.Repeat([]byte("x"), 599), '\n')
	text := bytes.Repeat(line, size/len(line))
	buffers := linebuf.NewPool(256 << 20)
	o.Connections = 1
	pool := New(buffers, o)
	lines := make(chan *linebuf.Buffer, 32)
	done := make(chan error, 1)
	go func() { done <- pool.Run(b.Context(), lines) }()
	send := func() {
		buf, err := buffers.Get(b.Context(), size)
		if err != nil {
			b.Fatal(err)
		}
		buf.B = append(buf.B, text...)
		buf.Lines, buf.Read = size/len(line), time.Now()
		lines <- buf
	}
	for range 1000 {
		send() // free lists and windows grow to their size
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		send()
	}
	b.StopTimer()
	close(lines)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWorker(b *testing.B) {
	benchBuffers(b, Options{
		Targets: []target.Address{{Scheme: target.SchemeTCP, Host: "a:1"}},
		Dial: func(context.Context, target.Address) (Conn, error) {
			return &sinkConn{events: make(chan struct{}, 1)}, nil
		},
	})
}

func BenchmarkLoopback(b *testing.B) { benchLoopback(b, Tuning{ResendMargin: 64 << 10}) }

// BenchmarkSmallWindow sends through one connection whose window is full again and again, to a
// receiver whose kernel tells what it has read.
func BenchmarkSmallWindow(b *testing.B) {
	for _, max := range []int64{64 << 10, 256 << 10, 1 << 20, 8 << 20} {
		b.Run(strconv.Itoa(int(max>>10))+"KiB", func(b *testing.B) {
			benchLoopback(b, Tuning{ResendMax: max, PeerLookup: true})
		})
	}
}

func benchLoopback(b *testing.B, t Tuning) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 256<<10)
		for err == nil {
			_, err = c.Read(buf)
		}
		if err != io.EOF {
			b.Error(err)
		}
	}()
	benchBuffers(b, Options{
		Targets: []target.Address{{Scheme: target.SchemeTCP, Host: ln.Addr().String()}},
		Tuning:  t,
	})
	ln.Close()
	<-ended
}

// BenchmarkOffer is an outlet whose sender makes no pauses.
func BenchmarkOffer(b *testing.B) {
	for _, size := range []int{600, 16 << 10, 64 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			line := append(bytes.Repeat([]byte("x"), 99), '\n')
			text := bytes.Repeat(line, size/len(line))
			buffers := linebuf.NewPool(256 << 20)
			outlet := runSinks(b, buffers, 8).NewOutlet()
			offer := func() {
				buf := buffers.MustGet(len(text))
				buf.B = append(buf.B, text...)
				buf.Lines, buf.Read = len(text)/len(line), time.Now()
				if !outlet.Offer(buf) {
					buffers.Put(buf)
				}
			}
			for range 1000 {
				offer() // free lists and windows grow to their size
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				offer()
			}
		})
	}
}
