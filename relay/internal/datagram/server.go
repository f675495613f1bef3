// Package datagram forwards UDP datagrams between clients and targets.
//
// UDP has no connections, so a session stands for one: the datagrams of one client address go to
// one target from a socket that only this session uses, and the replies that arrive there go to
// that client. A session ends when no datagram has passed in either direction for some time.
//
//	clients ─▶ listening socket ─▶ one goroutine ──▶ session's socket ─▶ target
//	        ◀────────────────── one goroutine per session ◀─────────────
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

	// Limits of the datagrams kept for a session that has no socket yet, since a name may have to
	// be resolved first. One datagram is kept whatever its size.
	maxPending      = 16
	maxPendingBytes = 64 << 10

	// drainIdle replaces a longer UDPIdleTimeout after the soft end. Replies to the last requests
	// have arrived by then.
	drainIdle = 5 * time.Second

	// A target that refuses datagrams by ICMP gets no new sessions for refusedFor if there are
	// other targets, and loses its sessions that are older than refusedAge. The age keeps a client
	// from opening a session with every datagram.
	refusedFor = 5 * time.Second
	refusedAge = time.Second
)

// packetConn is a listening socket: a *net.UDPConn, or a type with these methods.
type packetConn interface {
	net.PacketConn
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error)
	WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error)
}

// Options hold what a Server shares with the other services of a relay. All fields are needed.
type Options struct {
	Settings      *traffic.Settings
	Clients       *traffic.Clients
	Backends      *upstream.Backends
	ReceiveFailed *loglimit.Limiter // limits log lines about receiving that failed
	Logger        *slog.Logger
}

// Server serves one UDP socket.
type Server struct {
	Options
	soft    context.Context
	cut     context.Context // ends when all sessions must end
	cutOff  context.CancelFunc
	pc      packetConn
	name    string // address of the listener, for the log
	began   time.Time
	buffers sync.Pool // of *[]byte with maxDatagram bytes, for replies
	running sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	sessions map[netip.AddrPort]*session
	refused  map[*upstream.Backend]time.Time // time of the last refusal
	draining bool                            // no session is opened any more
	cutNow   bool                            // all sessions end now
}

// New returns a Server for pc, which must be a *net.UDPConn or have its methods.
func New(pc net.PacketConn, o Options) (*Server, error) {
	name := "udp://" + pc.LocalAddr().String()
	p, ok := pc.(packetConn)
	if !ok {
		return nil, fmt.Errorf("serve %s: a %T is not a UDP socket", name, pc)
	}
	if err := requestDestination(pc); err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	return &Server{
		Options: o, pc: p, name: name, began: time.Now(),
		buffers:  sync.Pool{New: func() any { b := make([]byte, maxDatagram); return &b }},
		sessions: make(map[netip.AddrPort]*session),
		refused:  make(map[*upstream.Backend]time.Time),
	}, nil
}

// Serve forwards datagrams until soft or hard ends, as relay.Relay.ServePackets describes. The
// caller closes the socket afterwards. Serve is called once.
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
	if err != nil { // replies cannot be sent any more
		v.cutOff()
	}
	v.running.Wait()
	close(ended)
	stopDrain()
	return err
}

// read forwards the datagrams of clients until no session is left and none will be opened, or until
// another one reads from the socket.
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
			v.ReceiveFailed.Warn(v.Logger, "receiving failed, trying again",
				slog.String("listener", v.name), slog.Any("err", err))
			accept.Pause(v.soft, retry.NextBackOff())
		}
	}
}

// over reports whether there is nothing left to read.
func (v *Server) over() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.overLocked()
}

// overLocked also looks at whether the socket has another reader. All datagrams of clients are for
// that one, also of those that have sessions here, which still pass on replies.
func (v *Server) overLocked() bool {
	return v.draining && (len(v.sessions) == 0 || accept.PassedOn(v.pc))
}

// forward passes one datagram on. It never blocks.
func (v *Server) forward(b, oob []byte, from netip.AddrPort) {
	if s := v.sessionOf(b, oob, from); s != nil {
		s.send(b)
	}
}

// sessionOf returns the client's session and opens one if necessary. It returns nil if the datagram
// cannot be sent now. The time of the last activity is set under the lock, so that the session does
// not expire before the datagram is sent.
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

// openLocked starts a session. If the client is refused, it counts the refusal and returns nil.
func (v *Server) openLocked(oob []byte, from netip.AddrPort) *session {
	client := from.Addr().WithZone("")
	switch {
	case v.draining:
		v.Clients.CountRefusal(traffic.EndShutdown)
		return nil
	case v.Backends.Datagrams.Active() >= int64(v.Clients.MaxSessions()):
		v.Clients.Refuse(traffic.EndLimit, client)
		return nil
	case v.Clients.Admit(client) != traffic.NotEnded:
		return nil
	}
	b := v.acquireLocked(client)
	if b == nil {
		v.Clients.Dismiss(client)
		v.refuseNoBackend()
		return nil
	}
	s := &session{v: v, id: v.Clients.NextID(), client: from, source: replySource(oob), start: time.Now(), backend: b}
	v.sessions[from] = s
	v.running.Go(s.run)
	return s
}

// acquireLocked returns a backend, if possible one that has not refused datagrams recently.
func (v *Server) acquireLocked(client netip.Addr) *upstream.Backend {
	var avoid upstream.Tried
	for b, at := range v.refused {
		if time.Since(at) < refusedFor {
			avoid.Add(b)
		} else {
			delete(v.refused, b)
		}
	}
	if len(avoid) > 0 {
		if b := v.Backends.Datagrams.TryAcquire(client, &avoid); b != nil {
			return b
		}
	}
	return v.Backends.Datagrams.TryAcquire(client, nil)
}

// refuseNoBackend counts a client that got no backend because all are full or down.
func (v *Server) refuseNoBackend() {
	if v.Backends.Datagrams.AnyFull() {
		v.Clients.CountRefusal(traffic.EndLimit)
		return
	}
	v.Clients.CountRefusal(traffic.EndNoTarget)
	v.Backends.Datagrams.SetUnreachable(true)
}

// drain lets sessions end, and cuts off those that last longer than Tuning.Drain.
func (v *Server) drain(ended <-chan struct{}) {
	v.close(false)
	accept.Drain(v.cut, ended, v.Settings.Load().Drain, v.cutOff)
}

// close prevents new sessions and wakes the present ones, which end at once if now is true.
func (v *Server) close(now bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draining = true
	v.cutNow = v.cutNow || now
	v.wakeLocked()
	v.wakeReaderLocked()
}

// wakeLocked makes all sessions check whether they end.
func (v *Server) wakeLocked() {
	for _, s := range v.sessions {
		s.wakeLocked()
	}
}

// Wake makes the sessions obey changed settings.
func (v *Server) Wake() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wakeLocked()
}

// Expel wakes the sessions. Those whose backend is expelled end.
func (v *Server) Expel(*upstream.Backend) { v.Wake() }

// wakeReaderLocked interrupts read if there is nothing left to read.
func (v *Server) wakeReaderLocked() {
	if v.overLocked() {
		v.pc.SetReadDeadline(longAgo)
	}
}

// longAgo is a deadline that interrupts reading at once.
var longAgo = time.Unix(1, 0)

// removeLocked takes s out of the sessions, so that the next datagram of its client opens a new
// one.
func (v *Server) removeLocked(s *session) {
	if v.sessions[s.client] == s {
		delete(v.sessions, s.client)
	}
	v.wakeReaderLocked()
}

// Connections returns at most limit of the open sessions.
func (v *Server) Connections(limit int) (all []traffic.Connection) {
	for _, s := range v.some(limit) {
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

func (v *Server) some(limit int) (some []*session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sessions {
		if len(some) >= limit {
			break
		}
		if s.ready { // otherwise its goroutine is setting the backend
			some = append(some, s)
		}
	}
	return some
}
