package relpsource

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/relp"
	"linesplit/linebuf"
	"linesplit/splitter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Server whose lines go to the test, over connections in memory.
type rig struct {
	*testing.T
	pool     *linebuf.Pool
	lines    chan *linebuf.Buffer
	splitter *splitter.Splitter
	server   *Server
	log      bytes.Buffer // read after end
	conns    chan net.Conn
	closed   chan struct{}

	soft, hard       context.Context
	endSoft, endHard context.CancelFunc
	served           chan error
}

// simulate runs a test with a Server whose clock is that of a bubble.
func simulate(t *testing.T, room int, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, pool: linebuf.NewPool(4 << 20), lines: make(chan *linebuf.Buffer, room), conns: make(chan net.Conn),
			closed: make(chan struct{}), served: make(chan error, 1)}
		log := slog.New(slog.NewTextHandler(&r.log, nil))
		r.splitter = splitter.New(r.pool, r.lines, splitter.Options{Logger: log})
		r.server = New(Options{Pool: r.pool, Splitter: r.splitter, Required: 0b101, Version: "1.2", Logger: log,
			Limits: func() Limits { return Limits{MaxLine: 64 << 10, IdleTimeout: time.Minute, Drain: time.Second} }})
		r.soft, r.endSoft = context.WithCancel(t.Context())
		r.hard, r.endHard = context.WithCancel(t.Context())
		defer r.endHard()
		go func() { r.served <- r.server.Serve(r.soft, r.hard, &listener{r: r}) }()
		test(r)
		r.end()
	})
}

// end ends the server, and checks that it has given everything back.
func (r *rig) end() {
	r.Helper()
	r.endSoft()
	if err := <-r.served; err != nil {
		r.Error(err)
	}
	r.server.Finish()
	r.server.FlushLog()
	r.splitter.FlushLog()
	close(r.lines)
	for b := range r.lines {
		r.pool.Put(b)
	}
	if n := r.pool.InUse(); n != 0 {
		r.Errorf("%d bytes are in use at the end", n)
	}
	if s := r.splitter.Stats(); s.Connections != 0 {
		r.Errorf("%d senders are left", s.Connections)
	}
}

// listener is one in memory.
type listener struct {
	r    *rig
	once sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.r.conns:
		return nc, nil
	case <-l.r.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.r.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "test", Net: "unix"} }

// client is one connection. Its goroutine reads what the server writes.
type client struct {
	r     *rig
	nc    net.Conn
	next  uint32
	ended chan struct{}

	mu  sync.Mutex
	got []string // frames
}

// open opens a session.
func (r *rig) open() *client {
	c := r.dial()
	c.send(relp.Open, "relp_version=0\nrelp_software=test\ncommands=syslog")
	if got := c.take(); len(got) != 1 || !strings.HasPrefix(got[0], "1 rsp 200 OK\nrelp_version=0\nrelp_software=linesplit,1.2\ncommands=syslog") {
		r.Errorf("opened with %q", got)
	}
	return c
}

func (r *rig) dial() *client {
	near, far := net.Pipe()
	r.conns <- far
	c := &client{r: r, nc: near, next: 1, ended: make(chan struct{})}
	go c.read()
	r.Cleanup(func() { near.Close() })
	return c
}

func (c *client) read() {
	defer close(c.ended)
	in := relp.NewReader(bufio.NewReader(c.nc), 1<<20)
	for {
		f, err := in.Next()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.got = append(c.got, strings.TrimSpace(fmt.Sprintf("%d %s %s", f.Number, f.Command, f.Data)))
		c.mu.Unlock()
	}
}

// send writes a frame for each text, in one write.
func (c *client) send(command string, texts ...string) {
	var out []byte
	for _, text := range texts {
		out = relp.Append(out, c.next, command, []byte(text))
		c.next = relp.Next(c.next)
	}
	c.nc.Write(out)
}

// take returns the frames that have come.
func (c *client) take() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

func (c *client) expect(want ...string) {
	c.r.Helper()
	if got := c.take(); fmt.Sprint(got) != fmt.Sprint(want) {
		c.r.Errorf("got %q, want %q", got, want)
	}
}

// buffer returns the next buffer of lines.
func (r *rig) buffer(want string) *linebuf.Buffer {
	r.Helper()
	synctest.Wait()
	select {
	case b := <-r.lines:
		if string(b.B) != want {
			r.Errorf("a buffer has %.200q, want %.200q", b.B, want)
		}
		return b
	default:
		r.Fatalf("no lines, want %.200q", want)
		return nil
	}
}
