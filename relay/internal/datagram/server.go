// Package datagram forwards UDP datagrams between clients and targets.
//
// Datagrams have no connections, so a session stands for one: what one client address sends goes to one target from a socket
// of the session's own, and what comes back there goes to that client. A session ends when nothing has gone either way for
// some time.
//
//	clients ─▶ listening socket ─▶ one goroutine ──▶ session's socket ─▶ target
//	        ◀─────────────────── one goroutine a session ◀──────────────
package datagram

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/loglimit"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

const (
	maxDatagram = 65535

	// Before a session has its socket (a name may have to be resolved) so many of its datagrams are kept, in number and in bytes.
	// One is kept whatever its size.
	mostPending      = 16
	mostPendingBytes = 64 << 10

	// After the soft end this takes the place of a longer UDPIdleTimeout: replies to the last questions have come by then.
	drainIdle = 5 * time.Second

	// A target that refuses datagrams, by ICMP, is given no new sessions for refusedFor if there are others, and loses those that are
	// older than refusedAge. So no client opens sessions as fast as it sends.
	refusedFor = 5 * time.Second
	refusedAge = time.Second
)

// packetConn is what a listening socket has to offer: a *net.UDPConn, or what has its methods.
type packetConn interface {
	net.PacketConn
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error)
	WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error)
}

// Options are what a Server shares with the others of a relay.
type Options struct {
	Settings      *traffic.Settings
	Clients       *traffic.Clients
	Backends      *upstream.Backends
	ReceiveFailed *loglimit.Limiter
	Logger        *slog.Logger
}

// Server is one call of ServePackets.
type Server struct {
	Options
	soft    context.Context
	cut     context.Context // ends when sessions are to be cut off
	cutOff  context.CancelFunc
	pc      packetConn
	name    string // the listener's, for the access log
	began   time.Time
	buffers sync.Pool // of *[]byte with maxDatagram bytes, for replies
	running sync.WaitGroup

	mu       sync.Mutex // guards what follows
	sessions map[netip.AddrPort]*session
	refused  map[*upstream.Backend]time.Time // when it last refused a datagram
	draining bool                            // no new sessions
	cutNow   bool                            // no sessions
}

// New returns a Server for pc, which is a *net.UDPConn, or has its methods.
func New(pc net.PacketConn, o Options) (*Server, error) {
	name := "udp://" + pc.LocalAddr().String()
	p, ok := pc.(packetConn)
	if !ok {
		return nil, fmt.Errorf("serve %s: a %T is not a UDP socket", name, pc)
	}
	if err := tellDestination(pc); err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	return &Server{
		Options: o, pc: p, name: name, began: time.Now(),
		buffers:  sync.Pool{New: func() any { b := make([]byte, maxDatagram); return &b }},
		sessions: make(map[netip.AddrPort]*session),
		refused:  make(map[*upstream.Backend]time.Time),
	}, nil
}

// Serve forwards datagrams until the end; see relay.ServePackets. The caller closes the socket.
func (v *Server) Serve(soft, hard context.Context) error {
	soft, cancel := context.WithCancel(soft)
	defer cancel()
	v.soft = soft
	v.cut, v.cutOff = context.WithCancel(hard)
	defer v.cutOff()
	abort := accept.After(v.cut, func() { cancel(); v.close(true) })
	defer abort()

	ended := make(chan struct{})
	stopDrain := accept.After(soft, func() { v.drain(ended) })
	err := v.read()
	close(ended)
	stopDrain()
	if err != nil { // no reply gets through any more
		v.cutOff()
	}
	v.running.Wait()
	return err
}

// read forwards what clients send until there are no sessions any more, nor will be.
func (v *Server) read() error {
	b, oob := make([]byte, maxDatagram), make([]byte, controlSize)
	retry := accept.NewBackOff(5*time.Millisecond, time.Second)
	for {
		n, oobn, _, from, err := v.pc.ReadMsgUDPAddrPort(b, oob)
		switch {
		case err == nil:
			retry.Reset()
			v.forward(b[:n], oob[:oobn], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		case v.over():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read from %s: %w", v.name, err)
		default:
			v.Clients.AcceptErrors.Add(1)
			v.ReceiveFailed.Warn(v.Logger, "receiving failed, trying again", slog.String("listener", v.name), slog.Any("err", err))
			accept.Pause(v.soft, retry.NextBackOff())
		}
	}
}

func (v *Server) over() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.overLocked()
}

func (v *Server) overLocked() bool { return v.draining && len(v.sessions) == 0 }

// forward passes one datagram on. It never waits.
func (v *Server) forward(b, oob []byte, from netip.AddrPort) {
	if s := v.sessionOf(b, oob, from); s != nil {
		s.send(b)
	}
}

// sessionOf returns the client's session, a new one if need be; nil if there is nothing to be sent now. Since its last activity is
// noted under the lock, the session does not expire before what was asked for has been sent.
func (v *Server) sessionOf(b, oob []byte, from netip.AddrPort) *session {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[from]
	if s == nil {
		if s = v.openLocked(oob, from); s == nil {
			return nil
		}
	}
	s.touch()
	if !s.ready {
		s.keep(b)
		return nil
	}
	return s
}

// openLocked starts a session. It returns nil if the client is refused, which is counted.
func (v *Server) openLocked(oob []byte, from netip.AddrPort) *session {
	client := from.Addr().WithZone("")
	switch {
	case v.draining:
		v.Clients.CountRefusal(traffic.EndShutdown)
		return nil
	case v.Backends.Datagrams.Active() >= int64(v.Settings.Load().UDPSessions):
		v.Clients.CountRefusal(traffic.EndLimit)
		return nil
	case v.Clients.Admit(client) != traffic.NotEnded:
		return nil
	}
	p := v.backendForLocked(client)
	if p == nil {
		v.Clients.Dismiss(client)
		v.refuseNoBackend()
		return nil
	}
	s := &session{v: v, id: v.Clients.NextID(), client: from, source: replySource(oob), start: time.Now(), backend: p}
	v.sessions[from] = s
	v.running.Go(s.run)
	return s
}

// backendForLocked avoids targets that have just refused datagrams, if it can.
func (v *Server) backendForLocked(client netip.Addr) *upstream.Backend {
	var avoid upstream.Tried
	for p, at := range v.refused {
		if time.Since(at) < refusedFor {
			avoid.Add(p)
		} else {
			delete(v.refused, p)
		}
	}
	if len(avoid) > 0 {
		if p := v.Backends.Datagrams.TryAcquire(client, &avoid); p != nil {
			return p
		}
	}
	return v.Backends.Datagrams.TryAcquire(client, nil)
}

// refuseNoBackend counts a client for whom there was none: all are full, or down.
func (v *Server) refuseNoBackend() {
	if v.Backends.Datagrams.AnyFull() {
		v.Clients.CountRefusal(traffic.EndLimit)
		return
	}
	v.Clients.CountRefusal(traffic.EndNoTarget)
	v.Backends.Datagrams.SetUnreachable(true)
}

// drain lets sessions end, and cuts off those that do not.
func (v *Server) drain(ended <-chan struct{}) {
	v.close(false)
	accept.Drain(v.cut, ended, v.Settings.Load().Drain, v.cutOff)
}

// close opens no more sessions, and has those there are look whether they end, as all do at once if now is true.
func (v *Server) close(now bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draining = true
	v.cutNow = v.cutNow || now
	v.wakeLocked()
	v.wakeReaderLocked()
}

// wakeLocked has all sessions look whether they end.
func (v *Server) wakeLocked() {
	for _, s := range v.sessions {
		s.wakeLocked()
	}
}

// Wake has the sessions wait for as long as they may now.
func (v *Server) Wake() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wakeLocked()
}

// Expel has the sessions look; those at the place end.
func (v *Server) Expel(*upstream.Backend) { v.Wake() }

// wakeReaderLocked ends the waiting read once nothing is to be read any more.
func (v *Server) wakeReaderLocked() {
	if v.overLocked() {
		v.pc.SetReadDeadline(longAgo)
	}
}

var longAgo = time.Unix(1, 0)

func (v *Server) removeLocked(s *session) {
	if v.sessions[s.client] == s {
		delete(v.sessions, s.client)
	}
	v.wakeReaderLocked()
}

// Connections returns some of the sessions, at most so many.
func (v *Server) Connections(most int) (all []traffic.Connection) {
	for _, s := range v.some(most) {
		d := traffic.Connection{
			ID: s.id, Client: s.client.String(), Listener: v.name,
			BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), Since: s.start,
		}
		if s.backend != nil {
			d.Target = s.backend.Target.String()
		}
		all = append(all, d)
	}
	return all
}

func (v *Server) some(most int) (some []*session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sessions {
		if len(some) >= most {
			break
		}
		if s.ready { // else its target is being set
			some = append(some, s)
		}
	}
	return some
}
