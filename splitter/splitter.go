// Package splitter accepts connections and turns the bytes that they bring into buffers of whole lines.
//
//	listener ─▶ accept ─▶ one goroutine per connection ─▶ channel of buffers
//	                       reads, cuts at newlines          (bounded, shared)
//
// A buffer on the channel holds whole lines of one connection. Where the channel is full, or the memory budget is,
// connections are not read from, so that their senders feel TCP's backpressure: nothing is ever dropped because
// the other side of the channel is slow.
package splitter

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/loglimit"
	"linesplit/linebuf"
)

// Options are the settings of a Splitter. The zero value of each field means its default.
type Options struct {
	Tuning
	// ReadSize is how much is read at once to begin with, in bytes, rounded up to a power of two: 16 KiB. It doubles
	// where reads keep filling the buffer, up to 128 KiB, and falls back as a connection goes quiet.
	ReadSize int
	// HandshakeTimeout bounds the TLS handshake: 10 s.
	HandshakeTimeout time.Duration
	// Logger gets changes of state, and repeated failures in sum. nil discards.
	Logger *slog.Logger
}

const (
	defaultReadSize  = 16 << 10
	defaultHandshake = 10 * time.Second

	largestRead = 128 << 10 // bigger ones saved nothing more when measured
)

// fixed is what of the Options never changes; see Options.
type fixed struct {
	ReadSize         int
	HandshakeTimeout time.Duration
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
	return fixed{o.ReadSize, o.HandshakeTimeout, o.Logger}
}

// Splitter reads lines from the connections of any number of listeners. All its methods are safe for concurrent use.
type Splitter struct {
	pool    *linebuf.Pool
	out     chan<- *linebuf.Buffer
	o       fixed
	tuning  atomic.Pointer[Tuning] // see tuned
	maxRead int
	gate    chan struct{} // see gateWidth

	counters         counters
	registry         registry
	acceptFailed     loglimit.Limiter
	handshakesFailed loglimit.Limiter
}

// New returns a Splitter that takes its buffers from pool and hands them over to out: who receives a buffer owns it
// and puts it back. Unfinished lines may take half of the pool's budget; beyond that the longest of them is dropped.
// So the budget should be at least four times MaxLine and ReadSize.
func New(pool *linebuf.Pool, out chan<- *linebuf.Buffer, o Options) *Splitter {
	s := &Splitter{pool: pool, out: out, o: o.fixed(), gate: make(chan struct{}, gateWidth)}
	s.maxRead = max(s.o.ReadSize, largestRead)
	s.registry.init(pool.Limit() / 2)
	s.Tune(o.Tuning)
	return s
}

// Serve accepts connections from ln and reads them until soft ends. Then it drains: it accepts those that wait in
// the backlog, closes ln, half-closes its connections so that senders notice (nothing is ever written to them), and
// goes on reading until they close, or until Options.Drain has passed, when it reads what has arrived and closes
// them. When hard ends, it closes everything at once.
//
// It returns only when all that it started has ended, with ln closed, and never closes the channel. The error is nil
// unless ln was closed by somebody else. If Accept returns io.EOF, which says that the listener is a finite one, it
// waits for the connections it has. Any other error of Accept is retried. Several calls may run at the same time,
// one per listener.
//
// A connection that implements syscall.Conn is read through its descriptor where the system allows it, not through
// its Read method; others, such as *tls.Conn, through Read. A listener that has a SetDeadline method is left with
// nothing in its backlog.
func (s *Splitter) Serve(soft, hard context.Context, ln net.Listener) error {
	soft, cancel := context.WithCancel(soft)
	defer cancel()
	v := &serving{Splitter: s, soft: soft, hard: hard, ln: ln}
	defer ln.Close()

	loop := v.loop()
	abort := accept.After(hard, func() { cancel(); v.abort() })
	defer abort()
	lastCall := accept.After(soft, func() { v.registry.wake(); loop.LastCall() })
	err := loop.Run()
	lastCall()

	ended := make(chan struct{})
	go func() { defer close(ended); v.conns.Wait() }()
	select {
	case <-ended:
	case <-soft.Done():
		ln.Close()
		v.drain(ended)
		<-ended
	}
	return err
}
