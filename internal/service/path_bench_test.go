package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/config"
	"linesplit/internal/fanout"
	"linesplit/internal/linekey"
	"linesplit/linebuf"
	"linesplit/splitter"
	"linesplit/spool"
	"linesplit/target"
	"linesplit/workerpool"
)

// BenchmarkPath is the path of lines of 600 bytes without sockets: from the reads of one sender
// through splitter and pool to the writes to four targets, which take and confirm everything at
// once. With keys there are 10,000 of them. An iteration is a read of up to 128 KiB. Beside time,
// writes/MB is what counts: each of them is a system call, which costs more than all else here.
func BenchmarkPath(b *testing.B) {
	for _, rule := range []string{"", "json:key", "until:|", "connection"} {
		b.Run("key="+rule, func(b *testing.B) { benchPath(b, newBenchPath(b, rule, "")) })
	}
}

// BenchmarkSpooledPath is the same path, without keys, beside a spool that gets no lines (overflow)
// or all of them (always). Its files are written and never synced: how fast the disk is does not
// count.
func BenchmarkSpooledPath(b *testing.B) {
	for _, mode := range []string{"none", "overflow", "always"} {
		b.Run("spool="+mode, func(b *testing.B) { benchPath(b, newBenchPath(b, "", mode)) })
	}
}

func benchPath(b *testing.B, p *benchPipe) {
	b.ReportAllocs()
	const lines = 4 * 218 // in four reads
	var text []byte
	for i := range lines * 46 { // 10,000 keys, four times over
		line := fmt.Sprintf(`{"key":"k%04d|","n":%06d,"message":"`, i*7919%10_000, i)
		text = append(text, line...)
		text = append(text, strings.Repeat("x", 597-len(line))...)
		text = append(text, "\"}\n"...)
	}
	p.feed(b, text, 400) // free lists, buffers and windows grow to their size
	writes, bytes := p.writes.Load(), p.bytes.Load()
	b.ResetTimer()
	n := p.feed(b, text, b.N)
	b.StopTimer()
	b.SetBytes(int64(n / b.N))
	b.ReportMetric(float64(p.writes.Load()-writes)/(float64(p.bytes.Load()-bytes)/1e6), "writes/MB")
}

// benchPipe is a splitter before a pool, and the listener of the former.
type benchPipe struct {
	conns         chan net.Conn
	over          func()
	writes, bytes atomic.Int64
}

// newBenchPath returns a path with a spool, unless mode is empty or "none".
func newBenchPath(b *testing.B, rule, mode string) *benchPipe {
	p := &benchPipe{conns: make(chan net.Conn)}
	p.over = sync.OnceFunc(func() { close(p.conns) })
	buffers := linebuf.NewPool(256 << 20)
	o := workerpool.Options{Dial: func(context.Context, target.Address) (workerpool.Conn, error) {
		return &benchSink{to: p, events: make(chan struct{}, 1)}, nil
	}}
	for i := range 4 {
		o.Targets = append(o.Targets, target.Address{Scheme: target.SchemeTCP, Host: fmt.Sprint("10.0.0.", i, ":1")})
	}
	if rule != "" {
		var err error
		if o.Rule, err = linekey.Parse(rule); err != nil {
			b.Fatal(err)
		}
	}
	pool := workerpool.New(buffers, o)
	run := pool.Run
	outlet := func() splitter.Outlet {
		if pool.Keyed() {
			return &seldomFlushed{KeyedOutlet: pool.NewKeyedOutlet()}
		}
		return pool.NewOutlet()
	}
	if mode == "overflow" || mode == "always" {
		outlet, run = benchSpool(b, buffers, pool, mode == "always")
	}
	lines := make(chan *linebuf.Buffer, 32)
	split := splitter.New(buffers, lines, splitter.Options{Outlet: outlet})
	hard, cancel := context.WithCancel(b.Context())
	served, ran := make(chan struct{}), make(chan error, 1)
	go func() { defer close(served); split.Serve(hard, hard, p) }()
	go func() { ran <- run(context.WithoutCancel(hard), lines) }()
	b.Cleanup(func() {
		cancel()
		<-served
		close(lines)
		if err := <-ran; err != nil {
			b.Error(err)
		}
	})
	return p
}

// benchSpool puts a spool before a pool. It returns what takes the place of the pool's outlets and
// of its Run.
func benchSpool(b *testing.B, buffers *linebuf.Pool, pool *workerpool.Pool, always bool) (
	outlet func() splitter.Outlet, run func(context.Context, <-chan *linebuf.Buffer) error,
) {
	s, err := spool.Open(spool.Options{Dir: filepath.Join(b.TempDir(), "spool"), Size: 1 << 30, Sync: 200 * time.Millisecond,
		Groups: []string{config.MainGroup}, Hold: buffers.Limit() / 4, Buffers: buffers, FS: unsyncedFS{spool.OS}})
	if err != nil {
		b.Fatal(err)
	}
	group := fanout.Options{Name: config.MainGroup, Required: true, Queue: 32, Ended: pool.EndInput}
	f := fanout.NewKept(buffers, []fanout.Options{group}, fanout.Kept{Spool: s, Always: always}, slog.New(slog.DiscardHandler))
	outlet = func() splitter.Outlet { return f.NewKeptOutlet([]fanout.Outlet{pool.NewOutlet()}) }
	run = func(ctx context.Context, lines <-chan *linebuf.Buffer) error {
		working, stop := context.WithCancel(ctx)
		var spooling, passing sync.WaitGroup
		spooling.Go(func() { s.Run(working) })
		passing.Go(func() { f.Run(ctx, ctx, lines) })
		err := pool.Run(ctx, f.Groups()[0].Lines())
		passing.Wait()
		stop()
		spooling.Wait()
		return errors.Join(err, s.Close())
	}
	return outlet, run
}

// unsyncedFS is a file system whose folders and new files are never synced.
type unsyncedFS struct{ spool.FS }

func (fs unsyncedFS) Create(name string) (spool.File, error) {
	f, err := fs.FS.Create(name)
	return unsyncedFile{f}, err
}

func (unsyncedFS) SyncDir(string) error { return nil }

type unsyncedFile struct{ spool.File }

func (unsyncedFile) Sync() error { return nil }

// seldomFlushed is an outlet whose reader finds more to read most times, as an event loop does with
// a busy sender.
type seldomFlushed struct {
	*workerpool.KeyedOutlet
	calls int
}

func (o *seldomFlushed) Flush() {
	if o.calls++; o.calls%8 == 0 {
		o.KeyedOutlet.Flush()
	}
}

// Accept is that of net.Listener.
func (p *benchPipe) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *benchPipe) Close() error   { p.over(); return nil }
func (p *benchPipe) Addr() net.Addr { return &net.TCPAddr{} }

// feed lets a sender bring text, again and again, in so many reads, and waits until all of it has
// been written. It returns the number of bytes.
func (p *benchPipe) feed(b *testing.B, text []byte, reads int) int {
	before := p.bytes.Load()
	c := &benchSender{text: text, reads: reads, ended: make(chan struct{})}
	c.end = sync.OnceFunc(func() { close(c.ended) })
	p.conns <- c
	<-c.ended
	for p.bytes.Load()-before < int64(c.sent) {
		time.Sleep(10 * time.Microsecond)
	}
	return c.sent
}

// benchSender is a connection whose reads never wait.
type benchSender struct {
	net.Conn // nil: other methods are not called
	text     []byte
	at       int
	reads    int
	sent     int
	end      func() // closes ended
	ended    chan struct{}
}

func (c *benchSender) Read(p []byte) (int, error) {
	if c.reads--; c.reads < 0 {
		return 0, io.EOF // in mid-line: the line is completed
	}
	n := copy(p, c.text[c.at:])
	c.at = (c.at + n) % len(c.text)
	c.sent += n
	return n, nil
}

func (c *benchSender) Close() error                    { c.end(); return nil }
func (c *benchSender) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
func (c *benchSender) SetReadDeadline(time.Time) error { return nil }
func (c *benchSender) SetDeadline(time.Time) error     { return nil }

// benchSink is a connection to a target that takes and confirms everything at once.
type benchSink struct {
	to      *benchPipe
	events  chan struct{}
	written uint64
	closed  bool
}

func (c *benchSink) Write(p []byte, _ func() error) (int, error) {
	c.written += uint64(len(p))
	c.to.writes.Add(1)
	c.to.bytes.Add(int64(len(p)))
	return len(p), nil
}

func (c *benchSink) TryWrite(p []byte) (int, error) { return c.Write(p, nil) }

func (c *benchSink) Progress() target.Progress {
	return target.Progress{Written: c.written, Acked: c.written, Read: c.written - min(c.written, 64<<10),
		FIN: c.closed, AllRead: c.closed}
}

func (c *benchSink) Events() <-chan struct{} { return c.events }
func (c *benchSink) CloseWrite() error       { c.closed = true; return nil }
func (c *benchSink) Abort()                  {}
func (c *benchSink) Close()                  {}
