// Package splitter accepts connections and turns the bytes read from them into buffers of whole
// lines.
//
//	listener ─▶ accept ─▶ event loop, or a goroutine ─▶ outlet, which writes at once, or
//	                      for each connection: reads,    channel of buffers
//	                      cuts at newlines               (bounded, shared)
//
// The rules for lines and memory are those of an [intake.Stream] for each connection; this package
// drives them.
//
// A buffer on the channel holds whole lines of one connection. While the channel or the memory
// budget is full, connections are not read, so that their senders feel TCP's backpressure: nothing
// is ever dropped because the other side of the channel is slow.
package splitter

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/intake"
	"linesplit/internal/loglimit"
	"linesplit/internal/loop"
	"linesplit/linebuf"
)

// Options are the settings of a Splitter. The zero value of each field means its default.
type Options struct {
	Tuning
	// ReadSize is the initial size of a read in bytes, rounded up to a power of two: 16 KiB. It
	// doubles while reads fill the buffer, up to 128 KiB, and falls back as a connection goes
	// quiet.
	ReadSize int
	// HandshakeTimeout limits the TLS handshake: 10 s.
	HandshakeTimeout time.Duration
	// Outlet returns an outlet for one connection, which tries it before the channel, or uses it
	// instead if it is a KeyedOutlet; nil: there are none.
	Outlet func() Outlet
	// Loops is the number of event loops that read plain connections over TCP and Unix sockets, on
	// Linux. 0: each connection has a goroutine, as it has with TLS and on other systems.
	Loops int
	// SharedLoops has the event loops that others use, too. nil: the Splitter has its own.
	SharedLoops *loop.Shared
	// Logger gets changes of state, and repeated failures as a summary. nil discards them.
	Logger *slog.Logger
}

// Outlet takes buffers of one connection without waiting.
type Outlet interface {
	// Offer reports whether it has taken b, which belongs to it from then on.
	Offer(b *linebuf.Buffer) bool
}

// noOutlet takes nothing.
type noOutlet struct{}

func (noOutlet) Offer(*linebuf.Buffer) bool { return false }

const (
	defaultReadSize  = 16 << 10
	defaultHandshake = 10 * time.Second

	maxReadSize = 128 << 10 // larger reads saved nothing more when measured
)

// fixed holds the Options that never change, with their defaults; see Options.
type fixed struct {
	ReadSize         int
	HandshakeTimeout time.Duration
	Outlet           func() Outlet
	Loops            int
	Logger           *slog.Logger
}

func (o Options) fixed() fixed {
	if o.ReadSize < 1 {
		o.ReadSize = defaultReadSize
	}
	o.ReadSize = linebuf.ClassSize(o.ReadSize)
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = defaultHandshake
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Outlet == nil {
		o.Outlet = func() Outlet { return noOutlet{} }
	}
	return fixed{o.ReadSize, o.HandshakeTimeout, o.Outlet, o.Loops, o.Logger}
}

// Splitter reads lines from the connections of any number of listeners. Its methods are safe for
// concurrent use.
type Splitter struct {
	pool    *linebuf.Pool
	streams *intake.Shared
	out     chan<- *linebuf.Buffer
	o       fixed
	tuning  atomic.Pointer[Tuning]        // see tuned
	news    atomic.Pointer[chan struct{}] // closed by the next Tune
	gate    chan struct{}                 // see gateWidth

	counters         counters
	loops            *loop.Shared
	registry         registry
	losses           losses
	hints            hints
	clients          clients
	acceptFailed     loglimit.Limiter
	datagramsFailed  loglimit.Limiter
	handshakesFailed loglimit.Kinds   // by tlsconf.HandshakeFault
	limitLog         loglimit.Limiter // of reaching Tuning.MaxConnections and of accepting again
}

// New returns a Splitter that takes its buffers from pool and hands them over to its outlets and to
// out. The receiver of a buffer owns it and puts it back. Unfinished lines may take a quarter of
// the pool's budget; beyond that the one without headway for the longest time is dropped. The
// budget should be at least four times MaxLine and ReadSize.
func New(pool *linebuf.Pool, out chan<- *linebuf.Buffer, o Options) *Splitter {
	s := &Splitter{pool: pool, out: out, o: o.fixed(), gate: make(chan struct{}, gateWidth)}
	s.streams = intake.NewShared(pool, s.o.ReadSize, maxReadSize, time.Now())
	s.loops = o.SharedLoops
	if s.loops == nil {
		s.loops = new(loop.Shared)
	}
	s.registry.init()
	s.losses.init(s.o.Logger)
	s.hints.logs.Burst = hintBurst
	s.limitLog.Burst = 2 // both messages at once the first time
	s.Tune(o.Tuning)
	return s
}

// Serve accepts connections from ln and reads them until soft ends. Then it drains: it accepts the
// connections that wait in the backlog, closes ln, half-closes its connections so that senders
// notice, and goes on reading until they close, or until Tuning.Drain has passed. Then it reads
// what has arrived and closes them. When hard ends, it closes everything at once. Nothing is ever
// written to senders, except for close_notify in answer to a TLS sender's own.
//
// Serve returns only when everything it started has ended, with ln closed. It never closes the
// channel. The error is nil unless ln was closed outside Serve, or standard input was not read to
// its end. If Accept returns io.EOF, the listener is a finite one, and Serve waits for the
// connections it has. It retries after any other error of Accept. Several calls may run at the same
// time, one per listener.
//
// A connection that implements syscall.Conn is read through its descriptor if the system allows it;
// others, such as *tls.Conn, are read through their Read method. A listener that has a SetDeadline
// method is left with nothing in its backlog. What its Framing method returns tells how the lines
// of its senders end; without one, each ends in a newline. The connection of a UDP listener stands
// for no sender: it takes no place under MaxConnections and is not counted as one.
func (s *Splitter) Serve(soft, hard context.Context, ln net.Listener) error {
	v := &serving{Splitter: s, hard: hard, ln: ln, loops: s.loops.Enter(s.o.Loops, s.o.Logger), framing: framingOf(ln)}
	defer s.loops.Leave()
	done := make(chan struct{})
	var timing sync.WaitGroup
	timing.Go(func() { v.timeOuts(done) })
	defer timing.Wait()
	defer close(done)
	server := accept.Server{
		Listener: ln,
		Start:    v.start,
		Failed:   v.failed,
		Wait:     v.conns.Wait,
		Room:     func(soft context.Context) bool { return v.registry.waitForRoom(soft, s) },
		Stopping: v.registry.wake,
		Drain:    v.drain,
		CutOff:   v.cutOff,
		Abort:    v.abort,
	}
	if ln.Addr().Network() == "udp" {
		server.Room = nil
	}
	err := server.Serve(soft, hard)
	if v.inputErr != nil {
		return fmt.Errorf("%s was not read to its end: %w", accept.Name(ln), v.inputErr)
	}
	return err
}
