package relpsource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/relp"
)

// serving is one call of Serve.
type serving struct {
	s  *Server
	ln net.Listener

	cut    context.Context // ends when no more lines may be handed over
	cutOff context.CancelFunc
	ended  context.Context // ends when no more lines will be confirmed
	over   context.CancelFunc
	served sync.WaitGroup // of sessions

	mu       sync.Mutex // guards the fields below
	change   *sync.Cond // on mu; signals fewer reading
	sessions map[*session]struct{}
	reading  int  // sessions that may hand over lines
	stopped  bool // new sessions read nothing
}

func newServing(s *Server, ln net.Listener) *serving {
	v := &serving{s: s, ln: ln, sessions: map[*session]struct{}{}}
	v.change = sync.NewCond(&v.mu)
	v.cut, v.cutOff = context.WithCancel(context.Background())
	v.ended, v.over = context.WithCancel(context.Background())
	return v
}

// serve is Server.Serve.
func (v *serving) serve(soft, hard context.Context) error {
	senders := v.s.o.Splitter
	server := accept.Server{
		Listener: v.ln,
		Start:    v.start,
		Failed:   func(err error) { senders.AcceptFailed(v.ln, err) },
		Wait:     v.wait,
		Room:     senders.AwaitRoom,
		Stopping: senders.WakeWaiting,
		Drain: func() time.Duration {
			v.stop()
			return v.s.o.Limits().Drain
		},
		CutOff: v.cutOff,
		Abort:  func() { v.stop(); v.cutOff(); v.over(); v.closeAll() },
	}
	return server.Serve(soft, hard)
}

// start serves a connection.
func (v *serving) start(nc net.Conn) {
	sender, ok := v.s.o.Splitter.Admit(nc, v.ln)
	if !ok {
		return
	}
	s := &session{v: v, nc: nc, sender: sender, answers: make(chan *answer, maxUnanswered)}
	s.dead, s.die = context.WithCancelCause(context.Background())
	v.mu.Lock()
	v.sessions[s] = struct{}{}
	v.reading++
	stopped := v.stopped
	v.mu.Unlock()
	if stopped {
		s.stop()
	}
	v.served.Go(s.serve)
}

// serve serves a session from its handshake to its end.
func (s *session) serve() {
	defer s.sender.Leave()
	defer s.nc.Close()
	defer s.v.remove(s)
	defer s.die(nil)
	if err := s.handshake(); err != nil {
		s.v.readEnded()
		return
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := s.write(); err != nil {
			s.die(err)
			s.nc.Close()
		}
	})
	err := s.read(s.v.cut)
	if s.buffer != nil { // its lines have no response
		s.v.s.o.Pool.Put(s.buffer)
	}
	s.v.readEnded()
	close(s.answers)
	inOrder := errors.Is(err, errClosed) || s.isStopped() && errors.Is(err, os.ErrDeadlineExceeded)
	if !inOrder {
		s.die(err)
	}
	writing.Wait()
	if inOrder {
		s.nc.SetWriteDeadline(time.Now().Add(answerTimeout)) // an error ends the write, too
		s.nc.Write(relp.Append(nil, 0, relp.ServerClose, nil))
		return
	}
	s.v.s.log(s, err)
}

// handshake completes the TLS handshake of a connection that has one.
func (s *session) handshake() error {
	t, ok := s.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	s.readWithin(openTimeout)
	t.SetWriteDeadline(time.Now().Add(openTimeout))
	err := accept.Handshake(t)
	if err != nil && !s.isStopped() {
		s.v.s.o.Splitter.HandshakeFailed(s.nc, err)
	}
	return err
}

// log logs the end of a session that did not end in order.
func (s *Server) log(x *session, err error) {
	kind := "other"
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed):
		return // a client that has gone, or one that was closed for a reason that is in the log
	case errors.Is(err, os.ErrDeadlineExceeded):
		kind = "idle"
	}
	s.logs.Of(kind).Warn(s.o.Logger, "RELP session ended", slog.Any("err", err),
		slog.String("peer", x.nc.RemoteAddr().String()), slog.String("listener", accept.Name(x.v.ln)))
}

func (v *serving) remove(s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.sessions, s)
}

// readEnded notes that a session hands over no more lines.
func (v *serving) readEnded() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reading--
	v.change.Broadcast()
}

// stop makes all sessions stop reading.
func (v *serving) stop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stopped = true
	for s := range v.sessions {
		s.stop()
	}
}

// wait waits until no session may hand over lines any more.
func (v *serving) wait() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.reading > 0 {
		v.change.Wait()
	}
}

func (v *serving) closeAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range v.sessions {
		s.nc.Close()
	}
}

// finish waits until the sessions have written their responses, or the deadline has passed.
func (v *serving) finish(deadline time.Time) {
	v.stop()
	v.cutOff()
	timer := time.AfterFunc(time.Until(deadline), v.closeAll)
	defer timer.Stop()
	v.served.Wait()
}

// errNoMemory is the error for a long frame while others take all the memory for these.
var errNoMemory = errors.New("long frames of other clients take all their memory")

// chargeLong counts memory of frames that are longer than readSize, in bytes. It fails if these
// would take more than their part of the memory.
func (s *Server) chargeLong(n int) error {
	if used := s.long.Add(int64(n)); n > 0 && used > s.o.Pool.Limit()/longShare {
		s.long.Add(int64(-n))
		return fmt.Errorf("%w: %d bytes", errNoMemory, used)
	}
	s.o.Pool.Charge(int64(n))
	return nil
}
