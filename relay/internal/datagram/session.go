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

	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// session is one client address. Its goroutine connects, and carries replies; the one that reads from the listening socket sends.
type session struct {
	v       *Server
	id      uint64
	client  netip.AddrPort
	source  []byte // a control message that lets replies come from where the client has sent to; its goroutine's
	start   time.Time
	backend *upstream.Backend // nil while there is none; its goroutine's, and from ready on anybody's
	dials   int               // its goroutine's
	socket  packetSocket

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
		s.backend.BytesIn.Add(uint64(n))
	}
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
func (s *session) carry() traffic.End {
	for {
		if why := s.look(); why != traffic.NotEnded {
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
				return traffic.EndTargetReset
			}
		}
	}
}

// look says whether the session is over, and else lets the next read end when it might be.
func (s *session) look() traffic.End {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	patience := s.v.Settings.Load().UDPIdleTimeout
	if s.v.draining {
		patience = min(patience, drainIdle)
	}
	left := patience - (time.Since(s.v.began) - time.Duration(s.last.Load()))
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
		s.backend.BytesOut.Add(uint64(len(b)))
	}
}

// refusedByTarget notes that nobody listens at the target, and says whether the session is to end for it: not where there is no other
// target, and not so soon.
func (s *session) refusedByTarget() bool {
	s.v.mu.Lock()
	defer s.v.mu.Unlock()
	s.v.refused[s.backend] = time.Now()
	s.lost = s.v.Backends.Datagrams.CountOpen(s.backend) > 0 && time.Since(s.start) >= refusedAge
	return s.lost
}

// finish gives back all that the session has had.
func (s *session) finish(why traffic.End) {
	v := s.v
	v.mu.Lock()
	v.removeLocked(s)
	v.mu.Unlock()
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
		Start: s.start, Client: s.client.String(), Listener: v.name, Target: target, BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		Duration: time.Since(s.start), Dials: s.dials, End: why.String(),
	})
}
