package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"linesplit/internal/accept"
)

// Datagrams have no connections, so a session stands for one: what one client address sends goes to one target from a socket
// of the session's own, and what comes back there goes to that client. A session ends when nothing has gone either way for
// some time.
//
//	clients ─▶ listening socket ─▶ one goroutine ──▶ session's socket ─▶ target
//	        ◀─────────────────── one goroutine a session ◀──────────────

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

// packetServing is one call of ServePackets.
type packetServing struct {
	*Relay
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
	refused  map[*place]time.Time // when it last refused a datagram
	draining bool                 // no new sessions
	cutNow   bool                 // no sessions
}

// ServePackets forwards datagrams from pc to the targets with target.SchemeUDP, and what these reply from pc to the client. pc is
// a *net.UDPConn, or has its methods. Each client address has a session, which counts as a connection in all limits and counts;
// Options.UDPSessions bounds their number. A datagram that would need one more is dropped and counted as refused.
//
// When soft ends it opens no more sessions, and waits until those there are have been idle for Options.UDPIdleTimeout or 5 s, whichever
// is less. When Options.Drain has passed or hard ends, it ends them at once. It returns with pc closed when all that it started has
// ended. The error is nil unless pc was closed by somebody else. Several calls may run at the same time, one per socket.
func (r *Relay) ServePackets(soft, hard context.Context, pc net.PacketConn) error {
	defer pc.Close()
	soft, cancel := context.WithCancel(soft)
	defer cancel()
	v, err := newPacketServing(r, soft, hard, pc)
	if err != nil {
		return err
	}
	defer v.cutOff()
	r.enter(v)
	defer r.leave(v)
	abort := accept.After(v.cut, func() { cancel(); v.close(true) })
	defer abort()

	ended := make(chan struct{})
	stopDrain := accept.After(soft, func() { v.drain(ended) })
	err = v.read()
	close(ended)
	stopDrain()
	if err != nil { // no reply gets through any more
		v.cutOff()
	}
	v.running.Wait()
	return err
}

func newPacketServing(r *Relay, soft, hard context.Context, pc net.PacketConn) (*packetServing, error) {
	name := "udp://" + pc.LocalAddr().String()
	p, ok := pc.(packetConn)
	if !ok {
		return nil, fmt.Errorf("serve %s: a %T is not a UDP socket", name, pc)
	}
	if err := tellDestination(pc); err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	v := &packetServing{
		Relay: r, soft: soft, pc: p, name: name, began: time.Now(),
		buffers:  sync.Pool{New: func() any { b := make([]byte, maxDatagram); return &b }},
		sessions: make(map[netip.AddrPort]*session),
		refused:  make(map[*place]time.Time),
	}
	v.cut, v.cutOff = context.WithCancel(hard)
	return v, nil
}

// read forwards what clients send until there are no sessions any more, nor will be.
func (v *packetServing) read() error {
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
			v.counters.acceptErrors.Add(1)
			v.acceptFailed.Warn(v.o.Logger, "receiving failed, trying again", slog.String("listener", v.name), slog.Any("err", err))
			accept.Pause(v.soft, retry.NextBackOff())
		}
	}
}

func (v *packetServing) over() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.overLocked()
}

func (v *packetServing) overLocked() bool { return v.draining && len(v.sessions) == 0 }

// forward passes one datagram on. It never waits.
func (v *packetServing) forward(b, oob []byte, from netip.AddrPort) {
	if s := v.sessionOf(b, oob, from); s != nil {
		s.send(b)
	}
}

// sessionOf returns the client's session, a new one if need be; nil if there is nothing to be sent now. Since its last activity is
// noted under the lock, the session does not expire before what was asked for has been sent.
func (v *packetServing) sessionOf(b, oob []byte, from netip.AddrPort) *session {
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
func (v *packetServing) openLocked(oob []byte, from netip.AddrPort) *session {
	client := from.Addr().WithZone("")
	switch {
	case v.draining:
		v.refuse(shutdown)
		return nil
	case v.datagrams.connections() >= int64(v.tuned().UDPSessions):
		v.refuse(limit)
		return nil
	case v.admit(client) != notEnded:
		return nil
	}
	p := v.placeForLocked(client)
	if p == nil {
		v.dismiss(client)
		v.refuseNoPlace()
		return nil
	}
	s := &session{v: v, id: v.ids.Add(1), client: from, source: replySource(oob), start: time.Now(), place: p}
	v.sessions[from] = s
	v.running.Go(s.run)
	return s
}

// placeForLocked avoids targets that have just refused datagrams, if it can.
func (v *packetServing) placeForLocked(client netip.Addr) *place {
	var avoid tried
	for p, at := range v.refused {
		if time.Since(at) < refusedFor {
			avoid.add(p)
		} else {
			delete(v.refused, p)
		}
	}
	if len(avoid) > 0 {
		if p := v.datagrams.tryAcquire(client, &avoid); p != nil {
			return p
		}
	}
	return v.datagrams.tryAcquire(client, nil)
}

// refuseNoPlace counts a client for whom there was none: all are full, or down.
func (v *packetServing) refuseNoPlace() {
	for _, p := range v.datagrams.all() {
		if p.full() && !p.draining.Load() && !p.t.Down() {
			v.refuse(limit)
			return
		}
	}
	v.refuse(noTarget)
	v.unreachable(true)
}

// connections returns how many there are to all targets of the group.
func (g *group) connections() (n int64) {
	for _, p := range g.all() {
		n += p.active.Load()
	}
	return n
}

// drain lets sessions end, and cuts off those that do not.
func (v *packetServing) drain(ended <-chan struct{}) {
	v.close(false)
	t := time.NewTimer(v.tuned().Drain)
	defer t.Stop()
	select {
	case <-ended:
	case <-v.cut.Done():
	case <-t.C:
		v.cutOff()
	}
}

// close opens no more sessions, and has those there are look whether they end, as all do at once if now is true.
func (v *packetServing) close(now bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draining = true
	v.cutNow = v.cutNow || now
	v.wakeLocked()
	v.wakeReaderLocked()
}

// wakeLocked has all sessions look whether they end.
func (v *packetServing) wakeLocked() {
	for _, s := range v.sessions {
		s.wakeLocked()
	}
}

// wake has the sessions wait for as long as they may now.
func (v *packetServing) wake() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wakeLocked()
}

// expel has the sessions look; those at the place end.
func (v *packetServing) expel(*place) { v.wake() }

// wakeReaderLocked ends the waiting read once nothing is to be read any more.
func (v *packetServing) wakeReaderLocked() {
	if v.overLocked() {
		v.pc.SetReadDeadline(longAgo)
	}
}

var longAgo = time.Unix(1, 0)

// session is one client address. Its goroutine connects, and carries replies; the one that reads from the listening socket sends.
type session struct {
	v      *packetServing
	id     uint64
	client netip.AddrPort
	source []byte // a control message that lets replies come from where the client has sent to; its goroutine's
	start  time.Time
	place  *place // nil while there is none; its goroutine's, and from ready on anybody's
	dials  int    // its goroutine's
	socket packetSocket

	bytesIn, bytesOut atomic.Int64
	last              atomic.Int64 // when something last went either way, in nanoseconds since v.began

	// Guarded by v.mu:
	ready        bool // the socket is there, and pending has been sent
	lost         bool // the target refuses datagrams, and there are others
	pending      [][]byte
	pendingBytes int
}

func (s *session) touch() { s.last.Store(int64(time.Since(s.v.began))) }

// keep is send for the time before there is a socket. What is too much is dropped, as datagrams are.
func (s *session) keep(b []byte) {
	if n := len(s.pending); n > 0 && (n >= mostPending || s.pendingBytes+len(b) > mostPendingBytes) {
		return
	}
	s.pending = append(s.pending, append([]byte(nil), b...))
	s.pendingBytes += len(b)
}

// send passes a datagram on to the target, or drops it where that would mean to wait.
func (s *session) send(b []byte) {
	err := s.socket.send(b)
	if isRefusal(err) { // of an earlier one, in whose place it was reported
		if s.refusedByTarget() {
			s.socket.conn.SetReadDeadline(longAgo)
		}
		err = s.socket.send(b)
	}
	s.count(err, len(b))
}

// count counts what the target was sent, if it was.
func (s *session) count(err error, n int) {
	if err == nil {
		s.bytesIn.Add(int64(n))
		s.place.bytesIn.Add(uint64(n))
	}
}

// run is the session's goroutine.
func (s *session) run() {
	why := s.connect()
	if why == notEnded {
		s.flush()
		why = s.carry()
	}
	s.finish(why)
}

// connect tries targets, each at most once, until there is a socket.
func (s *session) connect() end {
	ctx, cancel := context.WithTimeout(s.v.cut, s.v.tuned().DialBudget)
	defer cancel()
	var failed tried
	for deadline, _ := ctx.Deadline(); ; {
		s.dials++
		nc, err := s.v.dial(ctx, s.place, nil, time.Until(deadline))
		if err == nil {
			return s.socketOf(nc)
		}
		failed.add(s.place)
		s.v.release(s.place)
		s.place = nil
		switch {
		case s.v.cut.Err() != nil:
			return shutdown
		case ctx.Err() == nil:
			s.place = s.v.datagrams.tryAcquire(s.client.Addr().WithZone(""), &failed)
		}
		if s.place == nil {
			s.v.unreachable(true)
			return dialFailed
		}
	}
}

func (s *session) socketOf(nc net.Conn) end {
	if err := s.socket.init(nc.(*net.UDPConn)); err != nil {
		nc.Close()
		return dialFailed
	}
	return notEnded
}

// flush sends what has waited for the socket, and lets the rest follow.
func (s *session) flush() {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	for _, b := range s.pending {
		s.count(s.socket.send(b), len(b))
	}
	s.pending, s.ready = nil, true
}

// carry passes replies on until the session ends, and returns why it did.
func (s *session) carry() end {
	for {
		if why := s.look(); why != notEnded {
			return why
		}
		for {
			b, n, err := s.socket.receive(&s.v.buffers)
			if err == nil {
				s.reply((*b)[:n])
				s.v.buffers.Put(b)
				continue
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if !isRefusal(err) || s.refusedByTarget() {
				return targetReset
			}
		}
	}
}

// look says whether the session is over, and else lets the next read end when it might be.
func (s *session) look() end {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	patience := s.v.tuned().UDPIdleTimeout
	if s.v.draining {
		patience = min(patience, drainIdle)
	}
	left := patience - (time.Since(s.v.began) - time.Duration(s.last.Load()))
	switch {
	case s.v.cutNow:
		return shutdown
	case s.place.expelled.Load():
		return targetRemoved
	case s.lost:
		return targetReset
	case left <= 0:
		s.v.removeLocked(s)
		return idle
	}
	s.socket.conn.SetReadDeadline(time.Now().Add(left))
	return notEnded
}

// wakeLocked has the session look again.
func (s *session) wakeLocked() {
	if s.ready {
		s.socket.conn.SetReadDeadline(longAgo)
	}
}

// reply sends a datagram to the client. Where the address that the client has sent to will not do as a sender's (it was a
// broadcast's), the kernel chooses. Other failures concern this datagram alone.
func (s *session) reply(b []byte) {
	s.touch()
	_, _, err := s.v.pc.WriteMsgUDPAddrPort(b, s.source, s.client)
	if s.source != nil && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENETUNREACH)) {
		if _, _, err = s.v.pc.WriteMsgUDPAddrPort(b, nil, s.client); err == nil {
			s.source = nil
		}
	}
	if err == nil {
		s.bytesOut.Add(int64(len(b)))
		s.place.bytesOut.Add(uint64(len(b)))
	}
}

// refusedByTarget notes that nobody listens at the target, and says whether the session is to end for it: not where there is no other
// target, and not so soon.
func (s *session) refusedByTarget() bool {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	s.v.refused[s.place] = time.Now()
	s.lost = s.v.datagrams.open(s.place) > 0 && time.Since(s.start) >= refusedAge
	return s.lost
}

func (v *packetServing) removeLocked(s *session) {
	if v.sessions[s.client] == s {
		delete(v.sessions, s.client)
	}
	v.wakeReaderLocked()
}

// finish gives back all that the session has had.
func (s *session) finish(why end) {
	v := s.v
	v.mu.Lock()
	v.removeLocked(s)
	v.mu.Unlock()
	s.socket.close()
	target := ""
	if s.place != nil {
		target = s.place.t.String()
		v.release(s.place)
	}
	v.dismiss(s.client.Addr().WithZone(""))
	v.counters.cut(why)
	if why == dialFailed {
		v.refuse(why)
	}
	v.record(Record{
		Start: s.start, Client: s.client.String(), Listener: v.name, Target: target, BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		Duration: time.Since(s.start), Dials: s.dials, End: why.String(),
	})
}
