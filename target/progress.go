package target

import "time"

// Progress is what a [Conn] knows about the bytes it was given. Positions count bytes of lines (plaintext, with TLS) from
// the start of the connection; Read ≤ Acked ≤ Written.
type Progress struct {
	// Written bytes have been given to the kernel.
	Written uint64
	// Acked bytes have reached the peer's kernel; over a Unix socket, the peer's application.
	Acked uint64
	// Read bytes have been read by the peer's application as far as the acknowledgements and windows that came back can
	// tell, with the safety distance of Options.Margin.
	Read uint64
	// Unread estimates how many bytes of those that arrived the peer's application has not read yet, counted on the wire.
	Unread uint64
	// Blind says that this system counts nothing: Acked, Read and Unread stay 0.
	Blind bool
	// Silent is for how long retransmissions or probes have gone unanswered. A peer under backpressure answers them.
	Silent time.Duration
	// FIN says that the peer has ended its direction, or, with TLS, has said that it will.
	FIN bool
	// Over says that both directions have ended without an error: nothing more will be known.
	Over bool
	// Err is why the connection has failed, nil while it has not.
	Err error
	// Proven says that every acknowledged byte was read before the connection ended: there is nothing to send again but
	// what was never acknowledged.
	Proven bool
}

// kernelCounts is one look at what the kernel knows about a socket.
type kernelCounts struct {
	unacked     uint64        // bytes written that the peer has not acknowledged (Unix: not read)
	window      uint64        // the peer's receive window, bytes (TCP only)
	hasWindow   bool          // the kernel tells the window (Linux 5.4)
	closed      bool          // TCP: the socket is in state CLOSE; Unix: both directions have ended
	unanswered  bool          // a retransmission or a probe is waiting for its answer
	lastAckSeen time.Duration // how long ago the last acknowledgement came
}

// riseTime is for how long after the peak of the window rose the estimate is not trusted: while a window grows, unread
// bytes hide in the growth. Receivers that read every 100 ms were short by up to 1.4 MB.
const riseTime = time.Second

// estimator derives how much the peer holds unread from its receive window: the window shrinks by what is unread, so the
// peak seen less the present one is the estimate. The zero value is ready.
type estimator struct {
	peak   uint64
	roseAt time.Time
	unread uint64
	known  bool
}

// see takes one look at the window.
func (e *estimator) see(window uint64, now time.Time) {
	if window > e.peak {
		e.peak, e.roseAt = window, now
	}
	e.unread, e.known = e.peak-window, true
}

// distance returns how far behind the acknowledged byte the peer's application may be, in bytes, margin included.
func (e *estimator) distance(margin uint64, now time.Time) uint64 {
	d := margin + 2*e.unread
	if now.Sub(e.roseAt) < riseTime {
		d += e.peak
	}
	return d
}

// silence measures for how long a peer has left probes unanswered. The zero value is ready.
type silence struct {
	since   time.Time
	lastAck time.Time
}

// see takes one look and returns the length of the present silence, 0 where there is none. An acknowledgement in between
// starts it anew: the probes of a zero window come minutes apart, and each is answered.
func (s *silence) see(c kernelCounts, now time.Time) time.Duration {
	lastAck := now.Add(-c.lastAckSeen)
	acked := lastAck.Sub(s.lastAck) > ackJitter
	s.lastAck = lastAck
	if !c.unanswered {
		s.since = time.Time{}
		return 0
	}
	if s.since.IsZero() || acked {
		s.since = now
	}
	return now.Sub(s.since)
}

// ackJitter is how much two looks may disagree about when the same acknowledgement came: the kernel counts in jiffies of
// up to 10 ms, and a look may be interrupted.
const ackJitter = 100 * time.Millisecond
