package datagram

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/udpdrops"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// errorPause is the pause after an error of receiving. Such an error comes with a datagram that was
// sent, or with every call while the system has no memory.
const errorPause = time.Millisecond

// session stands for one client address. Its goroutine connects and carries replies. The goroutine
// that reads the listening socket sends to the target.
type session struct {
	v       *Server
	id      uint64
	client  netip.AddrPort
	start   time.Time
	socket  packetSocket
	backend *upstream.Backend // nil while there is none; other goroutines may read it once ready is true

	// Only the session's goroutine uses these.
	source []byte // control message that sets the source address of replies to the address the client sent to
	dials  int

	bytesIn, bytesOut atomic.Int64
	last              atomic.Int64 // time of the last datagram in either direction, in nanoseconds since v.began

	// Guarded by v.mu:
	ready        bool // the socket exists, and pending has been sent
	lost         bool // the target refuses datagrams, and there are other targets
	pending      [][]byte
	pendingBytes int
}

func (s *session) touch() { s.last.Store(int64(time.Since(s.v.began))) }

// keep stores a datagram until there is a socket, and drops it if too many wait.
func (s *session) keep(b []byte) {
	if n := len(s.pending); n > 0 && (n >= maxPending || s.pendingBytes+len(b) > maxPendingBytes) {
		s.v.Clients.LostDatagrams.Add(1)
		return
	}
	s.pending = append(s.pending, append([]byte(nil), b...))
	s.pendingBytes += len(b)
}

// send sends a datagram to the target, or drops it if that would block.
func (s *session) send(b []byte) {
	if s.transmit(b) && s.refusedByTarget() {
		s.socket.conn.SetReadDeadline(longAgo)
	}
}

// transmit sends a datagram and counts it. An error that an earlier datagram has left on the socket
// keeps it from being sent, and goes away by that, so transmit tries once more. It reports whether
// the error was that the target refuses datagrams.
func (s *session) transmit(b []byte) (refused bool) {
	err := s.socket.send(b)
	if isPassing(err) {
		refused = isRefusal(err)
		err = s.socket.send(b)
	}
	if err != nil {
		s.v.Clients.LostDatagrams.Add(1)
		return refused
	}
	s.bytesIn.Add(int64(len(b)))
	s.backend.BytesIn.Add(uint64(len(b)))
	return refused
}

// isPassing reports whether err concerns one datagram, not the socket. ICMP messages cause such
// errors: a datagram was too long for the path (EMSGSIZE), for example.
func isPassing(err error) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	return ok && errno != syscall.EAGAIN && errno != syscall.EBADF
}

// run is the session's goroutine.
func (s *session) run() {
	why := s.connect()
	if why == traffic.NotEnded {
		s.flush()
		why = s.carry()
	}
	s.finish(why)
}

// connect tries targets, each at most once, until there is a socket.
func (s *session) connect() traffic.End {
	ctx, cancel := context.WithTimeout(s.v.cut, s.v.Settings.Load().DialBudget)
	defer cancel()
	var failed upstream.Tried
	for deadline, _ := ctx.Deadline(); ; {
		s.dials++
		nc, err := s.v.Backends.Dial(ctx, s.backend, nil, time.Until(deadline))
		if err == nil {
			return s.socketOf(nc)
		}
		failed.Add(s.backend)
		s.v.Backends.Release(s.backend)
		s.backend = nil
		switch {
		case s.v.cut.Err() != nil:
			return traffic.EndShutdown
		case ctx.Err() == nil:
			s.backend = s.v.Backends.Datagrams.TryAcquire(s.client.Addr().WithZone(""), &failed)
		}
		if s.backend == nil {
			s.v.Backends.Datagrams.SetUnreachable(true)
			return traffic.EndDialFailed
		}
	}
}

func (s *session) socketOf(nc net.Conn) traffic.End {
	if err := s.socket.init(nc.(*net.UDPConn)); err != nil {
		nc.Close()
		return traffic.EndDialFailed
	}
	return traffic.NotEnded
}

// flush sends the datagrams that have waited for the socket, and lets later ones be sent at once.
func (s *session) flush() {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	for _, b := range s.pending {
		if s.transmit(b) {
			s.refusedLocked()
		}
	}
	s.pending, s.ready = nil, true
}

// carry passes replies on until the session ends, and returns the reason.
func (s *session) carry() traffic.End {
	for {
		if why := s.checkEnd(); why != traffic.NotEnded {
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
			if !isPassing(err) || isRefusal(err) && s.refusedByTarget() {
				return traffic.EndTargetReset
			}
			accept.Pause(s.v.cut, errorPause)
		}
	}
}

// checkEnd returns the reason if the session ends now. Otherwise it sets the deadline of the next
// read to the time when the session may be idle for too long.
func (s *session) checkEnd() traffic.End {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	timeout := s.v.Settings.Load().UDPIdleTimeout
	if s.v.draining {
		timeout = min(timeout, drainIdle)
	}
	left := timeout - (time.Since(s.v.began) - time.Duration(s.last.Load()))
	switch {
	case s.v.cutNow:
		return traffic.EndShutdown
	case s.backend.Expelled():
		return traffic.EndTargetRemoved
	case s.lost:
		return traffic.EndTargetReset
	case left <= 0:
		s.v.removeLocked(s)
		return traffic.EndIdle
	}
	s.socket.conn.SetReadDeadline(time.Now().Add(left))
	return traffic.NotEnded
}

// wakeLocked makes the session call checkEnd.
func (s *session) wakeLocked() {
	if s.ready {
		s.socket.conn.SetReadDeadline(longAgo)
	}
}

// reply sends a datagram to the client. If the address that the client sent to cannot be a source
// address, since it is a broadcast address for example, the kernel chooses one. Other failures
// concern only this datagram.
func (s *session) reply(b []byte) {
	s.touch()
	_, _, err := s.v.pc.WriteMsgUDPAddrPort(b, s.source, s.client)
	if s.source != nil && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENETUNREACH)) {
		if _, _, err = s.v.pc.WriteMsgUDPAddrPort(b, nil, s.client); err == nil {
			s.source = nil
		}
	}
	if err != nil {
		s.v.Clients.LostDatagrams.Add(1)
		return
	}
	s.bytesOut.Add(int64(len(b)))
	s.backend.BytesOut.Add(uint64(len(b)))
}

// refusedByTarget records that the target refuses datagrams, and reports whether the session ends
// because of that. It does not if there is no other target, or if it is younger than refusedAge.
func (s *session) refusedByTarget() bool {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	return s.refusedLocked()
}

func (s *session) refusedLocked() bool {
	s.v.refused[s.backend] = time.Now()
	s.lost = s.v.Backends.Datagrams.CountOpen(s.backend) > 0 && time.Since(s.start) >= refusedAge
	return s.lost
}

// finish releases all that the session holds and records its end.
func (s *session) finish(why traffic.End) {
	v := s.v
	v.mu.Lock()
	v.removeLocked(s)
	v.Clients.LostDatagrams.Add(uint64(len(s.pending))) // they waited for a socket
	v.mu.Unlock()
	if s.socket.conn != nil {
		dropped, _ := udpdrops.Count(s.socket.conn) // replies that came faster than they were read
		v.Clients.LostDatagrams.Add(uint64(dropped))
	}
	s.socket.close()
	target := ""
	if s.backend != nil {
		target = s.backend.Target.String()
		v.Backends.Release(s.backend)
	}
	v.Clients.Dismiss(s.client.Addr().WithZone(""))
	v.Clients.CountCut(why)
	if why == traffic.EndDialFailed {
		v.Clients.CountRefusal(why)
	}
	v.Clients.Record(traffic.Record{
		Start: s.start, Client: s.client.String(), Listener: v.name, Target: target,
		BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		Duration: time.Since(s.start), Dials: s.dials, End: why.String(),
	})
}
