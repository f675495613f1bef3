package target

import (
	"math"
	"time"
)

// Progress is what a [Conn] knows about the bytes it was given. Positions count bytes of lines
// (plaintext, with TLS) from the start of the connection; Read ≤ Acked ≤ Written.
type Progress struct {
	// Written bytes have been given to the kernel.
	Written uint64
	// Acked bytes have reached the peer's kernel; over a Unix socket, the peer's application.
	Acked uint64
	// Read bytes have been read by the peer's application as far as the acknowledgements and
	// windows that came back can tell, with the safety distance of Options.Margin.
	Read uint64
	// Unread estimates how many bytes of those that arrived the peer's application has not read
	// yet, counted on the wire.
	Unread uint64
	// Hidden is how many bytes more than Unread may lie unread without the peer's window showing
	// it. It is 0 over a Unix socket, where Read is known, and beyond all bounds where nothing is
	// known.
	Hidden uint64
	// Rising says that the peer's window has grown of late, which makes an Unread of 0 worth
	// little.
	Rising bool
	// WindowRecovered says that the peer's window has come to rest, with nothing on the way,
	// about as wide as it was of late at most. Windows may become narrower for good (Linux adapts
	// them to how well packets fill its memory), and then Unread stays above 0.
	WindowRecovered bool
	// WindowStable says that nothing is on its way and the window does not move any more: the
	// peer has read everything, or it hangs. A quarter of Options.Retain more tells: if the
	// window comes back, it is WindowRecovered.
	WindowStable bool
	// NoCounts says that this system counts nothing: Acked, Read and Unread stay 0.
	NoCounts bool
	// Silent is for how long retransmissions or probes have gone unanswered. A peer under
	// backpressure answers them.
	Silent time.Duration
	// RoundTrip is TCP's smoothed round-trip time (RFC 6298), 0 where there is none.
	RoundTrip time.Duration
	// FIN says that the peer has ended its direction, or, with TLS, has said that it will.
	FIN bool
	// Over says that both directions have ended without an error: nothing more will be known.
	Over bool
	// Err is why the connection has failed, nil while it has not.
	Err error
	// AllRead says that every acknowledged byte was read before the connection ended: there is
	// nothing to send again but what was never acknowledged.
	AllRead bool
}

// SeemsRead says that nothing of what was acknowledged seems unread.
func (p Progress) SeemsRead() bool { return p.Unread == 0 && !p.Rising || p.WindowRecovered }

// kernelCounts is one look at what the kernel knows about a socket.
type kernelCounts struct {
	unacked     uint64        // bytes written that the peer has not acknowledged (Unix: not read)
	window      uint64        // the peer's receive window, bytes (TCP only)
	hasWindow   bool          // the kernel tells the window (Linux 5.4)
	segment     int           // most bytes of one TCP segment
	closed      bool          // TCP: the socket is in state CLOSE; Unix: both directions have ended
	reset       bool          // Unix: the peer has closed with data unread
	unanswered  bool          // a retransmission or a probe is waiting for its answer
	lastAckSeen time.Duration // how long ago the last acknowledgement came
	roundTrip   time.Duration // smoothed
}

const (
	// riseTime is for how long at least a rise of the window's peak makes the estimate uncertain:
	// while a window grows, unread bytes hide in the growth. Receivers that read every 100 ms
	// were short by up to 1.4 MB.
	riseTime = time.Second
	// riseFactor is how many times more than it was seen to rise the window may have grown
	// unseen. A window that is still growing rises by more than a sixteenth of itself in
	// riseTime, which puts all of it in doubt; one that has found its size moves by a kilobyte
	// now and then.
	riseFactor = 16
)

const (
	// largeSegment tells the segments of a loopback device from those of networks, in bytes.
	largeSegment = 16 << 10
	// hiddenLarge is how much a Linux receiver that was starved of CPU time was seen to hide with
	// large segments, in bytes: some 64 KiB, and a good deal for safety.
	hiddenLarge = 1 << 20
)

// hidden returns [Progress.Hidden] for TCP. A Linux receiver never offers more than a limit that
// grows by two segments for each packet it takes (rcv_ssthresh), while its buffer may have grown
// to tens of megabytes: what is unread shows once it fills what the buffer holds beyond that
// limit. With 1500-byte packets more than a megabyte was hidden there; large segments let the
// limit catch up with the buffer in a few packets.
func hidden(segment int) uint64 {
	if segment < largeSegment {
		return math.MaxUint64
	}
	return hiddenLarge
}

// estimator derives how much the peer holds unread from its receive window: the window shrinks by
// what is unread, so the peak seen less the present one is the estimate. The zero value is ready.
type estimator struct {
	peak   uint64
	unread uint64
	known  bool
	doubt  uint64 // what settle may have taken for read

	before [2]uint64 // the peak when the riseTime before the present one, and when the present one, began
	turned time.Time // when the present one began

	rest rest
}

// see takes one look: the window, the acknowledged byte, and when the last acknowledgement came.
func (e *estimator) see(window, acked uint64, lastAck, now time.Time) {
	e.turn(now)
	e.peak = max(e.peak, window)
	e.unread, e.known = e.peak-window, true
	e.rest.see(window, acked, lastAck)
	if e.rest.reached() && window < e.peak {
		e.settle(window)
	}
}

// settle begins anew with a window that has become narrower for good, as it does where the peer's
// kernel is short of memory. By as much as rest allows for, that may be wrong.
func (e *estimator) settle(window uint64) {
	e.doubt = min(e.peak-window, e.rest.slack())
	e.peak, e.unread, e.before = window, 0, [2]uint64{window, window}
}

// turn begins another riseTime when it is due.
func (e *estimator) turn(now time.Time) {
	switch elapsed := now.Sub(e.turned); {
	case elapsed < riseTime:
		return
	case elapsed < 2*riseTime:
		e.before = [2]uint64{e.before[1], e.peak}
	default:
		e.before = [2]uint64{e.peak, e.peak}
	}
	e.turned = now
}

// rise is by how much the peak has risen of late.
func (e *estimator) rise() uint64 { return e.peak - e.before[0] }

// allRead is Progress.SeemsRead.
func (e *estimator) allRead() bool { return e.unread == 0 && e.rise() == 0 || e.rest.reached() }

// distance returns how far behind the acknowledged byte the peer's application may be, in bytes,
// margin included.
func (e *estimator) distance(margin uint64) uint64 {
	return margin + e.doubt + 2*e.unread + min(e.peak, riseFactor*e.rise())
}

const (
	// restStretch is over how many acknowledged bytes, at least, the greatest window is
	// remembered, and restShare which part of what is retained that is at most. A receiver that
	// hangs takes them without reading, so its window is narrower by as much than it was before
	// them: more than restSlack.
	restStretch = 1 << 20
	restShare   = 8
	// restSlack is how much narrower than that the window may be, in bytes and at most restPart
	// of it: Linux 6 adapts windows to how well packets fill its memory. Receivers that had read
	// everything were seen 18 KB narrower out of 124, and 176 KB out of 1,060. What a receiver
	// holds unread that hangs is not noticed below that, once nothing more is sent to it.
	restSlack = 512 << 10
	restPart  = 4
	// restAnswers is how many answers to keepalives must agree. A receiver that is still reading
	// widens its window between them.
	restAnswers = 2
)

// rest recognises a receiver that has read everything although its window is narrower than it
// once was: while it read, the window came back to one width again and again, and there it stays.
// The zero value is ready.
type rest struct {
	stretch uint64 // 0: restStretch
	window  uint64
	acked   uint64
	lastAck time.Time
	answers int       // that came since window or acked moved
	widest  [2]uint64 // in the restStretch before the present one, and in the present one
	from    uint64    // where the present one began
}

func (r *rest) see(window, acked uint64, lastAck time.Time) {
	if acked-r.from >= r.length() {
		r.widest, r.from = [2]uint64{r.widest[1], 0}, acked
	}
	r.widest[1] = max(r.widest[1], window)
	switch {
	case window != r.window || acked != r.acked:
		r.window, r.acked, r.lastAck, r.answers = window, acked, lastAck, 0
	case lastAck.Sub(r.lastAck) > ackJitter:
		r.lastAck = lastAck
		r.answers++
	}
}

func (r *rest) length() uint64 {
	if r.stretch == 0 {
		return restStretch
	}
	return r.stretch
}

// slack is how much narrower than of late a window may be that has come to rest.
func (r *rest) slack() uint64 {
	return min(restSlack, r.length()/2, max(r.widest[0], r.widest[1])/restPart)
}

// still is Progress.WindowStable.
func (r *rest) still() bool { return r.answers >= restAnswers }

func (r *rest) reached() bool {
	return r.still() && r.window+r.slack() >= max(r.widest[0], r.widest[1])
}

// silence measures for how long a peer has left probes unanswered. The zero value is ready.
type silence struct {
	since   time.Time
	lastAck time.Time
}

// see takes one look and returns the length of the present silence, 0 where there is none. An
// acknowledgement in between starts it anew: the probes of a zero window come minutes apart, and
// each is answered.
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

// ackJitter is how much two looks may disagree about when the same acknowledgement came: the
// kernel counts in jiffies of up to 10 ms, and a look may be interrupted.
const ackJitter = 100 * time.Millisecond
