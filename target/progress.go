package target

import (
	"math"
	"time"
)

// Progress is the state of the bytes given to a [Conn]. Positions count bytes of lines (plaintext,
// with TLS) from the start of the connection; Read ≤ Acked ≤ Written.
type Progress struct {
	// Written is the number of bytes that the kernel has taken.
	Written uint64
	// Acked is the number of bytes that have reached the peer's kernel; over a Unix socket, the
	// peer's application.
	Acked uint64
	// Read is the number of bytes that the peer's application has read: Known if Exact is true,
	// else what acknowledgements and windows show, less the safety distance of Options.Margin.
	Read uint64
	// Known is the number of bytes that the peer's application has certainly read, as far as the
	// kernel has told of a peer on this host (Options.PeerLookup), or the end of a TLS connection
	// has. It stays when the connection fails.
	Known uint64
	// Exact reports that the kernel has told it just now, or had told it until the peer's socket or
	// ours was gone. Read is then Known, Unread counts what is not known to be read, and nothing is
	// estimated.
	Exact bool
	// Unread estimates how many bytes have arrived that the peer's application has not read yet,
	// counted on the wire.
	Unread uint64
	// Hidden is the number of bytes, beyond Unread, that may be unread without the peer's window
	// showing it, once the window has stopped growing: Read allows for its growth. It is 0 where
	// Read is certain, over a Unix socket or if Exact is true, and math.MaxUint64 where there is no
	// limit.
	Hidden uint64
	// Rising reports whether the peer's window has grown of late. An Unread of 0 then means little.
	Rising bool
	// WindowRecovered reports whether the peer's window is stable and about as wide as the widest
	// of late. Unread then counts as 0: windows may become narrower for good, because Linux adapts
	// them to how well packets fill its memory.
	WindowRecovered bool
	// WindowStable reports whether nothing is in flight and the window has stopped changing: the
	// peer has read everything, or it hangs. Sending a quarter of Options.Retain more tells the two
	// apart: if the window comes back, WindowRecovered becomes true.
	WindowStable bool
	// Unsent is the number of bytes at the end of Written that the connection holds back, to send
	// them together with others, or has not sent before it failed.
	Unsent uint64
	// RejectedLines and RejectedBytes count the lines before Read that the peer has refused for
	// good. Only peers that acknowledge for themselves refuse lines.
	RejectedLines, RejectedBytes uint64
	// NoCounts reports that this system provides no counts: Acked, Read and Unread stay 0.
	NoCounts bool
	// Silent is the time for which retransmissions or probes have gone unanswered. A peer under
	// backpressure answers them.
	Silent time.Duration
	// RoundTrip is TCP's smoothed round-trip time (RFC 6298), or 0 without one.
	RoundTrip time.Duration
	// FIN reports whether the peer has ended its direction or, with TLS, has announced that it
	// will.
	FIN bool
	// Over reports whether both directions have ended without an error. Progress does not change
	// any more.
	Over bool
	// Err is why the connection has failed, or nil.
	Err error
	// AllRead reports whether every acknowledged byte was read before the connection ended. Only
	// bytes that were never acknowledged need to be sent again.
	AllRead bool
}

// SeemsRead reports whether, by the estimate, the peer has read everything acknowledged.
func (p Progress) SeemsRead() bool { return p.Unread == 0 && !p.Rising || p.WindowRecovered }

// kernelCounts holds what the kernel reports about a socket at one moment (a look).
type kernelCounts struct {
	unacked     uint64        // bytes written that the peer has not acknowledged (Unix: that it has not read)
	window      uint64        // the peer's receive window, bytes (TCP only)
	hasWindow   bool          // the kernel reports the window (Linux 5.4 and later)
	segment     int           // maximum size of a TCP segment, bytes
	closed      bool          // TCP: the socket is in state CLOSE; Unix: both directions have ended
	peerFIN     bool          // TCP: the peer's FIN has come, and we have sent none
	reset       bool          // Unix: the peer has closed with data unread
	tcpAcked    uint64        // TCP's own count of acknowledged bytes, if the kernel has one
	unanswered  bool          // a retransmission or a probe has had no answer yet
	lastAckSeen time.Duration // time since the last acknowledgement
	roundTrip   time.Duration // smoothed round-trip time
}

const (
	// riseTime is the minimum time for which a rise of the window's peak makes the estimate
	// uncertain: unread bytes hide in the growth of a window. Estimates for receivers that read
	// every 100 ms were short by up to 1.4 MB.
	riseTime = time.Second
	// riseFactor limits the unseen growth of the window to this many times the observed rise. A
	// window that is still growing rises by more than a sixteenth of itself in riseTime, which puts
	// all of it in doubt; one that has found its size moves by a kilobyte now and then.
	riseFactor = 16
)

const (
	// largeSegment separates the TCP segments of a loopback device from those of networks, in
	// bytes.
	largeSegment = 16 << 10
	// hiddenLarge is [Progress.Hidden] with large segments, in bytes. A Linux receiver that was
	// starved of CPU time hid half a megabyte; the rest is for safety.
	hiddenLarge = 1 << 20
)

// hidden returns [Progress.Hidden] for TCP. A Linux receiver never offers more than a limit
// (rcv_ssthresh), which grows by two segments for each packet it takes, while its buffer may have
// grown to tens of megabytes. Unread bytes show only when they fill more than the part of the
// buffer beyond that limit. With 1500-byte packets more than a megabyte was hidden there; with
// large segments the limit catches up with the buffer in a few packets.
func hidden(segment int) uint64 {
	if segment < largeSegment {
		return math.MaxUint64
	}
	return hiddenLarge
}

// estimator derives how many bytes the peer holds unread from its receive window, which shrinks by
// that much: the estimate is the peak of the window less the present window. The zero value is
// ready to use.
type estimator struct {
	peak   uint64 // widest window seen, bytes
	unread uint64 // estimate, bytes
	known  bool   // the kernel has reported a window
	doubt  uint64 // bytes that lowerPeak may have wrongly counted as read

	before [2]uint64 // peak at the start of the previous riseTime and of the present one
	turned time.Time // when the present riseTime began

	stability stability
}

// see records a look: the window, the acknowledged byte, and when the last acknowledgement came.
func (e *estimator) see(window, acked uint64, lastAck, now time.Time) {
	e.turn(now)
	e.peak = max(e.peak, window)
	e.unread, e.known = e.peak-window, true
	e.stability.see(window, acked, lastAck)
	if e.stability.recovered() && window < e.peak {
		e.lowerPeak(window)
	}
}

// lowerPeak starts the estimate anew from a window that has become narrower for good, as happens
// when the peer's kernel is short of memory. Up to the slack of stability, this may be wrong.
func (e *estimator) lowerPeak(window uint64) {
	e.doubt = min(e.peak-window, e.stability.slack())
	e.peak, e.unread, e.before = window, 0, [2]uint64{window, window}
}

// turn begins another riseTime when the present one is over.
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

// rise returns how much the peak has risen of late.
func (e *estimator) rise() uint64 { return e.peak - e.before[0] }

// seemsRead returns [Progress.SeemsRead].
func (e *estimator) seemsRead() bool {
	return e.unread == 0 && e.rise() == 0 || e.stability.recovered()
}

// distance returns how many bytes the peer's application may be behind the acknowledged byte,
// margin included.
func (e *estimator) distance(margin uint64) uint64 {
	return margin + e.doubt + 2*e.unread + min(e.peak, riseFactor*e.rise())
}

const (
	// maxSpan limits the span of acknowledged bytes over which the widest window is remembered, in
	// bytes; the span is also at most 1/spanShare of Options.Retain. A receiver that hangs takes a
	// whole span without reading, which makes its window narrower by a span: more than the slack.
	maxSpan   = 1 << 20
	spanShare = 8
	// maxSlack limits how much narrower than the widest window of late a recovered window may be,
	// in bytes; the slack is also at most 1/slackShare of the widest window. Linux 6 adapts windows
	// to how well packets fill its memory: receivers that had read everything were seen 18 KB
	// narrower out of 124, and 176 KB out of 1,060. Unread bytes of a receiver that hangs go
	// unnoticed below the slack once nothing more is sent to it.
	maxSlack   = 512 << 10
	slackShare = 4
	// stableAnswers is the number of answers to keepalives that must agree. A receiver that is
	// still reading widens its window between them.
	stableAnswers = 2
)

// stability recognises a receiver that has read everything although its window is narrower than it
// once was: while the receiver read, the window came back to one width again and again, and there
// it stays. The zero value is ready to use.
type stability struct {
	span    uint64 // acknowledged bytes; 0 means maxSpan
	window  uint64 // of the last look
	acked   uint64 // of the last look
	lastAck time.Time
	answers int       // acknowledgements since window or acked changed
	widest  [2]uint64 // window in the span before the present one, and in the present one
	start   uint64    // acknowledged byte at which the present span began
}

func (s *stability) see(window, acked uint64, lastAck time.Time) {
	if acked-s.start >= s.length() {
		s.widest, s.start = [2]uint64{s.widest[1], 0}, acked
	}
	s.widest[1] = max(s.widest[1], window)
	switch {
	case window != s.window || acked != s.acked:
		s.window, s.acked, s.lastAck, s.answers = window, acked, lastAck, 0
	case lastAck.Sub(s.lastAck) > ackJitter:
		s.lastAck = lastAck
		s.answers++
	}
}

func (s *stability) length() uint64 {
	if s.span == 0 {
		return maxSpan
	}
	return s.span
}

// slack returns how much narrower than the widest window of late a recovered window may be.
func (s *stability) slack() uint64 {
	return min(maxSlack, s.length()/2, max(s.widest[0], s.widest[1])/slackShare)
}

// stable returns [Progress.WindowStable].
func (s *stability) stable() bool { return s.answers >= stableAnswers }

// recovered returns [Progress.WindowRecovered].
func (s *stability) recovered() bool {
	return s.stable() && s.window+s.slack() >= max(s.widest[0], s.widest[1])
}

// silence measures how long a peer has left probes unanswered. The zero value is ready to use.
type silence struct {
	since   time.Time // zero while the peer answers
	lastAck time.Time
}

// see records a look and returns the length of the present silence, or 0. An acknowledgement
// restarts it: the probes of a zero window come minutes apart, and each is answered.
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

// ackJitter is the maximum difference between two looks about when the same acknowledgement came:
// the kernel counts in jiffies of up to 10 ms, and a look may be interrupted.
const ackJitter = 100 * time.Millisecond
