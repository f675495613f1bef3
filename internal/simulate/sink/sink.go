// Package sink is a test target. It reads lines from any number of connections, over TCP, TLS or
// a Unix socket, and hands them to a tally. It behaves well, slowly or badly as it is told, and
// its behaviour can change at any time. It can end in all the ways in which a process can, and
// restart on the same address.
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

// Options configure a sink. The zero value is a plain TCP sink that only counts.
type Options struct {
	Network string      // tcp, also if empty, or unix
	Address string      // host:port, path of a socket, or @name; "": a free port of FreshHost
	TLS     *tls.Config // server configuration; nil: no TLS. Shared, and not changed
	Buffer  int         // bytes of receive buffer, small so that senders notice a stall soon; 0: the kernel's default
	Segment int         // most bytes of a TCP segment, as behind a network; 0: the device's limit

	// Backlog is how many connections the kernel keeps for the sink to accept; 0: Go's default. The
	// sink accepts the next one AcceptPause after the one before. With both it is a busy server.
	Backlog     int
	AcceptPause time.Duration

	Tally *tally.Tally // accounts for what is read; shared; nil: lines are only counted
	// Output gets all lines except those that are too long for a tally, in writes of whole lines.
	// It must be safe for concurrent use. While a Write blocks, nothing more is read of that
	// connection, and it cannot end. Nil: no output.
	Output io.Writer

	Behaviour Behaviour // at the start
}

// Sink is a test target. Its methods are safe for concurrent use. The methods that end it
// (Shutdown, Leave, Exit, Crash, CloseUnread) and Restart wait for each other, except that Exit
// interrupts the other ones. When a method that ends the sink has returned, no goroutine and no
// descriptor of the sink is left.
type Sink struct {
	o    Options
	addr string // set once, by Start; the address of each listener

	state     atomic.Pointer[state] // replaced with mu held
	count     counters
	outputErr atomic.Pointer[error] // error of Output

	lifecycle sync.Mutex     // held while the sink ends or restarts
	running   sync.WaitGroup // accept loops and connections

	mu    sync.Mutex // guards the fields below
	ln    *listener  // nil: not listening
	ended bool       // only Restart may listen again
	conns map[*conn]struct{}
}

// state tells connections what to do. To change it, a new state replaces it as a whole.
type state struct {
	Behaviour
	paused  bool
	changed chan struct{} // closed when another state has replaced this one
	reads   sync.RWMutex  // read-locked by each read that uses this state
}

func newState(b Behaviour, paused bool) *state {
	return &state{Behaviour: b, paused: paused, changed: make(chan struct{})}
}

// inactive reports whether connections do nothing at all.
func (st *state) inactive() bool { return st.paused || st.Hang }

// Start listens and serves connections. The caller ends the sink.
func Start(o Options) (*Sink, error) {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("start a sink: %w", err)
	}
	if o.Output != nil && o.Tally == nil {
		o.Tally = tally.New(tally.Options{}) // Output gets its lines from the tally's reader
	}
	s := &Sink{o: o, addr: o.Address, conns: make(map[*conn]struct{})}
	s.state.Store(newState(o.Behaviour, false))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.listenLocked(); err != nil {
		return nil, err
	}
	s.addr = s.ln.Addr().String()
	if o.Behaviour.Refuse { // the address is known by now
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
	case o.Network == "unix" && o.Segment != 0:
		return errors.New("no segments on Unix sockets")
	}
	return o.Behaviour.Check()
}

// Addr returns host:port, the path of a socket, or @name. It never changes.
func (s *Sink) Addr() string { return s.addr }

// Target returns the address in the form of linesplit's -target.
func (s *Sink) Target() string {
	switch {
	case s.o.Network == "unix":
		return "unix://" + s.addr
	case s.o.TLS != nil:
		return "tls://" + s.addr
	}
	return "tcp://" + s.addr
}

// Behave changes the behaviour, also on open connections. Its error says what is wrong with b,
// which is then not applied, or that the sink refused connections before and cannot listen again.
func (s *Sink) Behave(b Behaviour) error {
	if err := b.Check(); err != nil {
		return err
	}
	s.change(func(st *state) { st.Behaviour = b })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch refuse := s.state.Load().Refuse; {
	case refuse:
		s.closeLocked()
	case !s.ended:
		return s.listenLocked()
	}
	return nil
}

// Behaviour returns the current behaviour.
func (s *Sink) Behaviour() Behaviour { return s.state.Load().Behaviour }

// Pause makes the application stop reading: when Pause returns, nothing more is read. Connections
// are still accepted, as the kernel does for a process that hangs.
func (s *Sink) Pause() { s.change(func(st *state) { st.paused = true }) }

// Resume makes the application read again.
func (s *Sink) Resume() { s.change(func(st *state) { st.paused = false }) }

// change replaces the state. When it returns, all reads that used the old state have ended.
func (s *Sink) change(change func(*state)) {
	old := s.replaceState(change)
	old.reads.Lock() // an interrupted read may still return what arrived last
	defer old.reads.Unlock()
}

// replaceState replaces the state, and wakes all connections so that they apply the new one.
func (s *Sink) replaceState(change func(*state)) (old *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old = s.state.Load()
	next := newState(old.Behaviour, old.paused)
	change(next)
	s.state.Store(next)
	close(old.changed)
	for c := range s.conns {
		c.interruptLocked()
	}
	return old
}

// listener is an open listener. Closing it ends its accept loop.
type listener struct {
	net.Listener
	closed chan struct{}
}

// pause waits for d. It returns false if the listener is closed.
func (ln *listener) pause(d time.Duration) bool {
	select {
	case <-ln.closed:
		return false
	case <-time.After(d):
		return true
	}
}

// listenLocked listens and starts the accept loop, unless the sink is listening already.
func (s *Sink) listenLocked() error {
	if s.ln != nil {
		return nil
	}
	config := net.ListenConfig{Control: listenerOptions(s.o)}
	config.SetMultipathTCP(false) // MPTCP sockets lack some options and counters
	opened, err := config.Listen(context.Background(), s.o.Network, s.listenAddress())
	if err != nil {
		return fmt.Errorf("start a sink: %w", err)
	}
	if s.o.Backlog > 0 {
		if err := setBacklog(opened, s.o.Backlog); err != nil {
			opened.Close()
			return fmt.Errorf("start a sink: %w", err)
		}
	}
	ln := &listener{opened, make(chan struct{})}
	s.ln = ln
	s.running.Go(func() { s.accept(ln) })
	return nil
}

// listenAddress returns the address to listen on.
func (s *Sink) listenAddress() string {
	if s.addr != "" {
		return s.addr
	}
	return net.JoinHostPort(FreshHost(), "0")
}

// FreshHost returns a loopback address that no other program uses, because on Linux all of
// 127.0.0.0/8 is this machine. A port of it can be closed and opened again. Other systems have
// only 127.0.0.1, where in between another listener or an outgoing connection may be given the
// port.
func FreshHost() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254))).String()
}

func (s *Sink) closeLocked() {
	if s.ln != nil {
		close(s.ln.closed)
		CloseListener(s.ln.Listener)
		s.ln = nil
	}
}

// Delays of retries after Accept has failed, usually because no descriptor is left. Each is twice
// the one before.
const (
	initialRetry = 5 * time.Millisecond
	maxRetry     = time.Second
)

func (s *Sink) accept(ln *listener) {
	retry := initialRetry
	for {
		raw, err := ln.Accept()
		if err == nil {
			retry = initialRetry
			s.admit(ln, raw)
			if s.o.AcceptPause > 0 {
				ln.pause(s.o.AcceptPause)
			}
			continue
		}
		if !ln.pause(retry) {
			return
		}
		retry = min(2*retry, maxRetry)
	}
}

// admit serves a connection, or resets it.
func (s *Sink) admit(ln *listener, raw net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.accepted.Add(1)
	st := s.state.Load()
	full := st.MaxConnections > 0 && len(s.conns) >= st.MaxConnections
	drop := rand.Float64()*100 < st.Chaos
	switch {
	case s.ln != ln: // closed meanwhile
		resetConn(raw)
	case full:
		s.count.refused.Add(1)
		resetConn(raw)
	case drop && st.ChaosWhen != MidStream:
		s.count.dropped.Add(1)
		resetConn(raw)
	default:
		c := newConn(s, raw)
		if drop {
			c.resetAfter = 1 + rand.IntN(maxResetAfter)
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

// OutputErr returns the first error of Output, or nil. After an error, nothing more is written to
// Output.
func (s *Sink) OutputErr() error {
	if err := s.outputErr.Load(); err != nil {
		return *err
	}
	return nil
}

// write writes whole lines to Output.
func (s *Sink) write(lines []byte) {
	if s.outputErr.Load() != nil {
		return
	}
	if _, err := s.o.Output.Write(lines); err != nil {
		err = fmt.Errorf("write lines: %w", err)
		s.outputErr.CompareAndSwap(nil, &err)
	}
}

// resetConn closes a connection with an RST. Unix sockets have no RST, but with data unread the
// peer sees a reset anyway.
func resetConn(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	raw.Close()
}
