// Package sink is a test target. It reads lines from any number of connections, over TCP, TLS or a Unix socket, hands them to a tally, and
// behaves as it is told: well, slowly, or badly, and otherwise from one moment to the next. It can end in all the ways in which a process
// can, and begin again on the same address.
package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/simulate/tally"
)

// Options say what a sink is. The zero value is a plain TCP one that only counts.
type Options struct {
	Network string      // tcp, which is also what "" means, or unix
	Address string      // host:port, the path of a socket, or @name; "": a free port of a loopback address that nobody else uses
	TLS     *tls.Config // of the accepting side; nil: plain. Shared, and not changed
	Buffer  int         // bytes of the kernel's receive buffers, so that a stall is felt soon; 0: as the kernel likes

	Tally  *tally.Tally // takes all that is read; shared; nil: lines are only counted
	Output io.Writer    // gets all lines but those that are too long for a tally, some whole ones with each Write; must be safe for
	// concurrent use. While it takes nothing, nothing is read, and no connection ends. nil: none

	Behaviour Behaviour // to begin with
}

// Sink is a test target. Its methods are safe for concurrent use. Those that end it (Shutdown, Exit, Crash, CloseUnread) and Restart wait for
// each other, except that Exit ends what another of them waits for. When one that ends it has returned, no goroutine and no descriptor of the
// sink is left.
type Sink struct {
	o    Options
	addr string // set once, by Start: as it listened first, and will again

	mood  atomic.Pointer[mood] // replaced with mu held
	count counters
	fault atomic.Pointer[error] // that Output has returned

	life    sync.Mutex     // held while the sink is ended or begun again
	running sync.WaitGroup // the accept loops and all connections

	mu    sync.Mutex // guards the fields below
	ln    *listener  // nil: not listening
	ended bool       // by one of the methods that do that: nothing but Restart may listen
	conns map[*conn]struct{}
}

// mood is what the connections go by. It is not changed, but replaced.
type mood struct {
	Behaviour
	paused  bool
	changed chan struct{} // closed when another one has taken its place
	reads   sync.RWMutex  // held for reading by each read that goes by it
}

func newMood(b Behaviour, paused bool) *mood {
	return &mood{Behaviour: b, paused: paused, changed: make(chan struct{})}
}

// silent says whether connections do nothing at all.
func (m *mood) silent() bool { return m.paused || m.Hang }

// Start begins to listen and to serve. The caller ends the sink.
func Start(o Options) (*Sink, error) {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("start a sink: %w", err)
	}
	if o.Output != nil && o.Tally == nil {
		o.Tally = tally.New(tally.Options{}) // something has to cut lines
	}
	s := &Sink{o: o, addr: o.Address, conns: make(map[*conn]struct{})}
	s.mood.Store(newMood(o.Behaviour, false))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listenLocked(); err != nil {
		return nil, err
	}
	s.addr = s.ln.Addr().String()
	if o.Behaviour.Refuse { // by now the address is known
		s.closeLocked()
	}
	return s, nil
}

func (o Options) check() error {
	switch {
	case o.Network != "tcp" && o.Network != "unix":
		return fmt.Errorf("unknown network %q: known are tcp and unix", o.Network)
	case o.Network == "unix" && o.Address == "":
		return errors.New("a Unix socket needs a path")
	case o.Network == "unix" && o.TLS != nil:
		return errors.New("no TLS on Unix sockets")
	}
	return o.Behaviour.Check()
}

// Addr is host:port, the path of a socket, or @name. It stays the same.
func (s *Sink) Addr() string { return s.addr }

// Target is the address as linesplit's -target takes it.
func (s *Sink) Target() string {
	switch {
	case s.o.Network == "unix":
		return "unix://" + s.addr
	case s.o.TLS != nil:
		return "tls://" + s.addr
	}
	return "tcp://" + s.addr
}

// Behave changes how the sink behaves from now on, on connections that there are, too. Its error says what is wrong with b, of which nothing
// holds then; or that the sink refused connections before and cannot listen again.
func (s *Sink) Behave(b Behaviour) error {
	if err := b.Check(); err != nil {
		return err
	}
	s.change(func(m *mood) { m.Behaviour = b })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch refuse := s.mood.Load().Refuse; {
	case refuse:
		s.closeLocked()
	case !s.ended:
		return s.listenLocked()
	}
	return nil
}

// Behaviour returns what holds now.
func (s *Sink) Behaviour() Behaviour { return s.mood.Load().Behaviour }

// Pause makes the application stop reading: when it returns, nothing is read any more. Connections go on being accepted, as by the kernel for a
// process that hangs.
func (s *Sink) Pause() { s.change(func(m *mood) { m.paused = true }) }

// Resume makes it read on.
func (s *Sink) Resume() { s.change(func(m *mood) { m.paused = false }) }

// change replaces the mood. When it returns, all reads have ended that went by the old one.
func (s *Sink) change(change func(*mood)) {
	old := s.replaceMood(change)
	old.reads.Lock() // a read that was interrupted may still bring what came at the last moment
	defer old.reads.Unlock()
}

// replaceMood replaces the mood, and wakes all connections so that they go by the new one.
func (s *Sink) replaceMood(change func(*mood)) (old *mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.mood.Load()
	next := newMood(old.Behaviour, old.paused)
	change(next)
	s.mood.Store(next)
	close(old.changed)
	for c := range s.conns {
		c.interruptLocked()
	}
	return old
}

// listener is one that has been opened. Closing it ends its accept loop.
type listener struct {
	net.Listener
	closed chan struct{}
}

// listenLocked listens and accepts, unless it does already.
func (s *Sink) listenLocked() error {
	if s.ln != nil {
		return nil
	}
	config := net.ListenConfig{Control: receiveBuffer(s.o.Buffer)}
	config.SetMultipathTCP(false) // its sockets lack some of the options and counts
	opened, err := config.Listen(context.Background(), s.o.Network, s.listenAddress())
	if err != nil {
		return fmt.Errorf("start a sink: %w", err)
	}
	ln := &listener{opened, make(chan struct{})}
	s.ln = ln
	s.running.Go(func() { s.accept(ln) })
	return nil
}

// listenAddress is where to listen.
func (s *Sink) listenAddress() string {
	if s.addr != "" {
		return s.addr
	}
	return net.JoinHostPort(FreshHost(), "0")
}

// FreshHost returns a loopback address that no other program uses: on Linux all of 127.0.0.0/8 is this machine. A port of it can be closed and
// taken again, while on 127.0.0.1, which it returns on other systems, another listener or an outgoing connection may be given it in between.
func FreshHost() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254))).String()
}

func (s *Sink) closeLocked() {
	if s.ln != nil {
		close(s.ln.closed)
		s.ln.Close()
		s.ln = nil
	}
}

// Where accepting fails (no descriptor is left, mostly), it is tried again: after the first of these, doubled up to the last.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = time.Second
)

func (s *Sink) accept(ln *listener) {
	retry := firstRetry
	for {
		raw, err := ln.Accept()
		if err == nil {
			retry = firstRetry
			s.admit(ln, raw)
			continue
		}
		select {
		case <-ln.closed:
			return
		case <-time.After(retry):
			retry = min(2*retry, lastRetry)
		}
	}
}

// admit serves a connection, or turns it away.
func (s *Sink) admit(ln *listener, raw net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.accepted.Add(1)
	m := s.mood.Load()
	full := m.MaxConnections > 0 && len(s.conns) >= m.MaxConnections
	drop := rand.Float64()*100 < m.Chaos
	switch {
	case s.ln != ln: // closed meanwhile
		resetConn(raw)
	case full:
		s.count.refused.Add(1)
		resetConn(raw)
	case drop && m.ChaosWhen != MidStream:
		s.count.dropped.Add(1)
		resetConn(raw)
	default:
		c := newConn(s, raw)
		if drop {
			c.doom = 1 + rand.IntN(maxDoom)
		}
		s.conns[c] = struct{}{}
		s.running.Go(c.serve)
	}
}

func (s *Sink) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// OutputErr is the error that Output returned, after which nothing was written to it any more, or nil.
func (s *Sink) OutputErr() error {
	if err := s.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// write gives Output whole lines.
func (s *Sink) write(lines []byte) {
	if s.fault.Load() != nil {
		return
	}
	if _, err := s.o.Output.Write(lines); err != nil {
		err = fmt.Errorf("write lines: %w", err)
		s.fault.CompareAndSwap(nil, &err)
	}
}

// resetConn closes with an RST. A Unix socket has no such thing: with data unread its peer sees a reset anyway.
func resetConn(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	raw.Close()
}
