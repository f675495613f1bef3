//go:build linux

package testrig

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/simulate/sink"
)

// Pattern is how the application behind a target reads.
type Pattern int

const (
	Steady Pattern = iota // as fast as it can
	Drip                  // 1 KiB every few milliseconds
	Bursts                // all there is, every 100 ms
)

// SinkOptions say what a target is.
type SinkOptions struct {
	Network   string      // tcp, which is also the zero value's meaning, or unix
	TLS       *tls.Config // nil: plain
	HalfClose bool        // send FIN at once and read on, as `ncat -l` and `nc -N` do
	Pattern   Pattern
	Buffer    int // bytes of the kernel's receive buffers, so that a stall is felt soon; 0: as the kernel likes
	Segment   int // most bytes of a TCP segment, as if behind a network; 0: as the device likes
}

// Sink is a target in this process. Its methods are safe for concurrent use,
// except those that end or start it (Shutdown, Exit, Crash, CloseUnread, Listen):
// they belong to the test's goroutine.
type Sink struct {
	tb      testing.TB
	tally   *Tally
	o       SinkOptions
	addr    string // set once, by the first Listen
	pattern atomic.Int32
	lines   atomic.Int64
	dialled atomic.Int64

	ln        net.Listener
	accepting sync.WaitGroup
	serving   sync.WaitGroup

	mu     sync.Mutex
	conns  map[*sinkConn]struct{}
	paused chan struct{} // closed by Resume; nil: reading
}

// NewSink listens on an address of its own (or a socket in a directory of its own)
// and counts into tally what it reads.
func NewSink(tb testing.TB, tally *Tally, o SinkOptions) *Sink {
	tb.Helper()
	if o.Network == "" {
		o.Network = "tcp"
	}
	s := &Sink{tb: tb, tally: tally, o: o, conns: make(map[*sinkConn]struct{})}
	s.SetPattern(o.Pattern)
	s.Listen()
	tb.Cleanup(s.Exit)
	return s
}

// Target is the sink's address as the -target flag takes it.
func (s *Sink) Target() string {
	switch {
	case s.o.Network == "unix":
		return "unix://" + s.addr
	case s.o.TLS != nil:
		return "tls://" + s.addr
	}
	return "tcp://" + s.addr
}

// Addr is host:port or the socket's path.
func (s *Sink) Addr() string { return s.addr }

// Lines is how many lines this sink has read, duplicates included.
func (s *Sink) Lines() int { return int(s.lines.Load()) }

// Accepted is how many connections this sink has ever accepted.
func (s *Sink) Accepted() int { return int(s.dialled.Load()) }

// Conns is how many connections are open.
func (s *Sink) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// SetPattern changes how the application reads from now on.
func (s *Sink) SetPattern(p Pattern) { s.pattern.Store(int32(p)) }

// Listen makes the sink reachable again where it was, after it had ended.
func (s *Sink) Listen() {
	s.tb.Helper()
	ln, err := s.listen()
	if err != nil {
		s.tb.Fatalf("target: %v", err)
	}
	if s.o.Buffer > 0 {
		inherit(ln, syscall.SOL_SOCKET, syscall.SO_RCVBUF, s.o.Buffer)
	}
	if s.o.Segment > 0 {
		inherit(ln, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, s.o.Segment)
	}
	s.ln = ln
	s.addr = ln.Addr().String()
	s.accepting.Go(func() { s.accept(ln) })
}

func (s *Sink) listen() (net.Listener, error) {
	switch {
	case s.o.Network == "unix" && s.addr == "":
		dir, err := os.MkdirTemp("", "rig")
		if err != nil {
			return nil, err
		}
		s.tb.Cleanup(func() { os.RemoveAll(dir) })
		return net.Listen("unix", filepath.Join(dir, "target.sock"))
	case s.addr == "":
		return ListenAlone()
	}
	return net.Listen(s.o.Network, s.addr)
}

// ListenAlone listens on a free port of a loopback address that nobody else uses: all of 127.0.0.0/8 is this machine.
// Such a port can be closed and taken again. On 127.0.0.1 another listener or an outgoing connection, of this or of
// another program, may be given it in between.
func ListenAlone() (net.Listener, error) {
	addr := net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
	return net.Listen("tcp", net.JoinHostPort(addr.String(), "0"))
}

func (s *Sink) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return // the listener was closed: nothing else ends it here
		}
		s.dialled.Add(1)
		s.start(conn)
	}
}

func (s *Sink) start(conn net.Conn) {
	c := &sinkConn{sink: s, raw: conn, app: conn, gone: make(chan struct{}), scan: scanner{tally: s.tally}}
	if s.o.TLS != nil {
		c.app = tls.Server(conn, s.o.TLS)
	}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.serving.Go(c.serve)
}

func (s *Sink) remove(c *sinkConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Sink) each(do func(*sinkConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}

// Shutdown is an orderly end: no new connections, FIN on those there are (behind
// close_notify with TLS), read to the peer's FIN, close. A peer that never sends
// its FIN fails the test.
func (s *Sink) Shutdown() {
	s.tb.Helper()
	s.stopListening()
	s.each((*sinkConn).finish)
	if !Poll(Patience, func() bool { return s.Conns() == 0 }) {
		s.tb.Errorf("target %s: %d connections had our FIN and never sent theirs", s.addr, s.Conns())
	}
	s.Exit()
}

// Exit is a process that is gone at once: everything is closed with traffic
// arriving, FIN or RST as it falls. It may be called on a sink that has ended.
func (s *Sink) Exit() {
	s.stopListening()
	s.each((*sinkConn).close)
	s.serving.Wait()
	s.Resume()
}

// Crash is a process that stalls and is killed with data unread: it stops
// reading, and stall later every connection is reset.
func (s *Sink) Crash(stall time.Duration) {
	s.Pause()
	time.Sleep(stall)
	s.stopListening()
	s.each((*sinkConn).reset)
	s.serving.Wait()
	s.Resume()
}

// CloseUnread is a process that stalls and then closes in an orderly way with
// data unread. With TLS that is a close_notify with RST behind it.
func (s *Sink) CloseUnread(stall time.Duration) {
	s.Pause()
	time.Sleep(stall)
	s.stopListening()
	s.each(func(c *sinkConn) { c.app.Close(); c.close() })
	s.serving.Wait()
	s.Resume()
}

// Narrow lowers the receive buffers of the connections there are, as a kernel does that is short of memory: they offer narrower
// windows for good.
func (s *Sink) Narrow(size int) {
	s.each(func(c *sinkConn) {
		rawConn(c.raw).Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		})
	})
}

// ResetConnections resets every connection, and goes on listening.
func (s *Sink) ResetConnections() { s.each((*sinkConn).reset) }

func (s *Sink) stopListening() {
	sink.CloseListener(s.ln)
	s.accepting.Wait()
}

// Pause makes the application stop reading. Connections go on being accepted, as
// the kernel does for a process that hangs.
func (s *Sink) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused != nil {
		return
	}
	s.paused = make(chan struct{})
	for c := range s.conns {
		if c.ready {
			c.raw.SetReadDeadline(time.Now()) // it may wait in a read, which would still take what arrives
		}
	}
}

// Resume makes the application read on.
func (s *Sink) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == nil {
		return
	}
	for c := range s.conns {
		c.raw.SetReadDeadline(time.Time{})
	}
	close(s.paused)
	s.paused = nil
}

// waitWhilePaused returns when the sink reads, or when gone is closed.
func (s *Sink) waitWhilePaused(gone <-chan struct{}) {
	s.mu.Lock()
	paused := s.paused
	s.mu.Unlock()
	if paused == nil {
		return
	}
	select {
	case <-paused:
	case <-gone:
	}
}

// sinkConn is one connection of a sink. The goroutine in serve owns it; the other
// methods only poke it so that serve ends.
type sinkConn struct {
	sink *Sink
	raw  net.Conn
	app  net.Conn // raw, or TLS over it
	gone chan struct{}
	once sync.Once
	scan scanner

	ready bool // past its handshake, which no deadline may end; guarded by the sink's mu
}

func (c *sinkConn) serve() {
	defer c.sink.remove(c)
	defer c.close()
	c.handshake()
	if c.sink.o.HalfClose {
		c.finish()
	}
	buf := make([]byte, 64<<10)
	for {
		c.sink.waitWhilePaused(c.gone)
		n, err := c.read(buf)
		c.count(buf[:n])
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.scan.end(errors.Is(err, io.EOF))
			return
		}
	}
}

// read reads once as the sink's pattern says.
func (c *sinkConn) read(buf []byte) (int, error) {
	switch Pattern(c.sink.pattern.Load()) {
	case Drip:
		time.Sleep(5 * time.Millisecond)
		buf = buf[:1<<10]
	case Bursts:
		time.Sleep(100 * time.Millisecond)
		return c.burst(buf)
	}
	return c.app.Read(buf)
}

// burst reads all there is and returns the last part of it.
func (c *sinkConn) burst(buf []byte) (int, error) {
	for {
		n, err := c.app.Read(buf)
		if n < len(buf) || err != nil {
			return n, err
		}
		c.count(buf[:n])
	}
}

func (c *sinkConn) count(b []byte) {
	before := c.scan.lines
	c.scan.feed(b)
	c.sink.lines.Add(int64(c.scan.lines - before))
}

// handshake is TLS's. An error of it comes again from the first read.
func (c *sinkConn) handshake() {
	if secure, ok := c.app.(*tls.Conn); ok {
		secure.Handshake()
	}
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	c.ready = true
}

// finish says that this side will send nothing more.
func (c *sinkConn) finish() {
	if secure, ok := c.app.(*tls.Conn); ok {
		secure.CloseWrite()
	}
	c.raw.(interface{ CloseWrite() error }).CloseWrite()
}

func (c *sinkConn) close() {
	c.once.Do(func() { close(c.gone) })
	c.raw.Close()
}

// reset closes with RST. A Unix socket has no such option: with data unread its
// peer sees a reset anyway.
func (c *sinkConn) reset() {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.close()
}

// inherit sets an option that accepted connections take over: set on them, it would come after the first window.
func inherit(ln net.Listener, level, option, value int) {
	rawConn(ln).Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), level, option, value)
	})
}

// rawConn gives a socket's descriptor to a rig that misbehaves on purpose.
func rawConn(socket any) syscall.RawConn {
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		panic(err) // a socket of the net package has one
	}
	return raw
}
