package relay

import (
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/loop"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
)

// ending holds what a link has to know while it ends.
type ending struct {
	ended int // number of streams that have ended in an orderly way or were refused

	targetRefuses, clientRefuses bool // the side takes no more bytes from the other
	targetGone, clientGone       bool // the side has ended while it was refused

	in, out int64         // delivering: positions that the peers have to acknowledge
	look    time.Duration // delivering: delay before the next look

	inEmpty, outEmpty time.Time // settling: since when the send queues are empty
}

// advance does what the events of a link allow.
func (k *link) advance() {
	if !k.inEnded {
		if ended, err := k.streams.In.Step(k.loop); ended {
			k.inEnded = true
			k.streamEnded(&k.streams.In, clientEnds, err)
		}
	}
	if k.stage != closed && !k.outEnded {
		if ended, err := k.streams.Out.Step(k.loop); ended {
			k.outEnded = true
			k.streamEnded(&k.streams.Out, targetEnds, err)
		}
	}
	switch k.stage {
	case delivering:
		if k.outEnded && k.streams.Out.Pending() > 0 { // see abortAt
			k.streams.Out.Flush()
		}
		k.discard()
	case settling:
		if k.discard(); k.settled() {
			k.finish()
		}
	}
}

// streamEnded is conn.flowEnded for a link.
func (k *link) streamEnded(s *splice.Stream, e ends, err error) {
	end := &k.ending
	switch {
	case err == nil:
		if k.first == traffic.NotEnded {
			k.first = e.closed
		}
		if end.ended == 0 || k.refusal() { // otherwise both sockets are closed now
			s.CloseWrite()
		}
	case err == splice.ErrUndeliverable:
		// The bytes that the receiving side sent before it broke are still carried in the other
		// direction, and its end follows them there.
		if s == &k.streams.In {
			end.targetRefuses = true
		} else {
			end.clientRefuses = true
		}
	default:
		k.decide(e.reset)
		k.deliver()
		return
	}
	if end.ended++; end.ended < 2 {
		return
	}
	if k.first == traffic.NotEnded {
		k.decide(e.undeliverable) // neither side takes bytes, and neither has ended; this stream found out last
	}
	k.settle()
}

func (k *link) refusal() bool { return k.ending.targetRefuses || k.ending.clientRefuses }

// deliver waits, before the sides are reset, until both peers have acknowledged the bytes that have
// been read for them so far: a reset would lose the rest. If the send queues stay as they are,
// checkSilence ends the wait by abort.
func (k *link) deliver() {
	if k.stage == delivering {
		return
	}
	k.stage = delivering
	in, out := &k.streams.In, &k.streams.Out
	k.ending.in = in.Moved() + int64(in.Pending())
	k.ending.out = out.Moved() + int64(out.Pending())
	k.ending.look = firstLook
	k.lookDelivered()
}

// lookDelivered ends the link if everything has arrived. A target that is out of use is not waited
// for.
func (k *link) lookDelivered() {
	outOfUse := k.why == traffic.EndTargetDown || k.why == traffic.EndTargetRemoved
	if (outOfUse || reached(&k.streams.In, k.ending.in)) && reached(&k.streams.Out, k.ending.out) {
		k.finish()
		return
	}
	k.loop.Start(&k.timer, k.ending.look)
	k.ending.look = min(2*k.ending.look, lastLook)
}

// reached reports whether the first n bytes of a stream have left its receiving side's send queue,
// or can no longer arrive.
func reached(s *splice.Stream, n int64) bool {
	if s.Pending() > 0 {
		return false
	}
	waiting := s.Waiting()
	return waiting == 0 || s.Moved()-waiting >= n
}

// settle ends the link, but first gives a side whose bytes the other refuses the time to receive
// the rest. It may still be sending, and closing a socket with unread data resets it, which loses
// the bytes in its send queue.
func (k *link) settle() {
	if k.why != traffic.NotEnded || !k.refusal() {
		k.finish()
		return
	}
	k.stage = settling
	k.ending.inEmpty, k.ending.outEmpty = k.loop.Now(), k.loop.Now()
	k.loop.Start(&k.timer, lastLook)
}

// lookSettled looks at the send queues at intervals while the link settles.
func (k *link) lookSettled() {
	now := k.loop.Now()
	if k.streams.In.Waiting() > 0 {
		k.ending.inEmpty = now
	}
	if k.streams.Out.Waiting() > 0 {
		k.ending.outEmpty = now
	}
	if k.settled() {
		k.finish()
		return
	}
	k.loop.Start(&k.timer, lastLook)
}

func (k *link) settled() bool {
	e, now := &k.ending, k.loop.Now()
	return (!e.clientRefuses || e.targetGone || now.Sub(e.inEmpty) >= settleTime) &&
		(!e.targetRefuses || e.clientGone || now.Sub(e.outEmpty) >= settleTime)
}

// discard discards what a side sends that the other does not take: a peer may read nothing until it
// has written.
func (k *link) discard() {
	e := &k.ending
	if e.clientRefuses && !e.targetGone && k.outEnded {
		e.targetGone = k.target.Discard(k.loop)
	}
	if e.targetRefuses && !e.clientGone && k.inEnded {
		e.clientGone = k.client.Discard(k.loop)
	}
}

// finish closes both sides.
func (k *link) finish() {
	in, out := &k.streams.In, &k.streams.Out
	reset := k.why != traffic.NotEnded
	why := k.why
	if !reset {
		why = k.first
	}
	k.deliveredIn, k.deliveredOut = in.Delivered(reset), out.Delivered(reset)
	if lost := in.Moved() - k.deliveredIn; lost > 0 {
		k.v.clients.DiscardedIn.Add(uint64(lost))
	}
	if lost := out.Moved() - k.deliveredOut; lost > 0 {
		k.v.clients.DiscardedOut.Add(uint64(lost))
	}
	in.Release()
	out.Release()
	if reset {
		k.client.Reset()
		k.target.Reset()
	} else {
		k.client.Close()
		k.target.Close()
	}
	k.cleanUp(why)
}

// checkSilence aborts a link that has made no progress for too long.
func (k *link) checkSilence(now time.Time, set *Tuning) {
	if k.backend == nil || k.stage == closed {
		return
	}
	in, out := &k.streams.In, &k.streams.Out
	if k.silence.since.IsZero() {
		k.keepAlive()
	}
	silent := k.silence.last(now, in.Moved()+out.Moved(), int32(k.ending.ended), func() int64 {
		return in.Waiting() + out.Waiting()
	})
	isEnding := k.ending.ended > 0 || k.why != traffic.NotEnded
	why := verdict(set, silent, isEnding)
	if why == traffic.NotEnded && !isEnding {
		why = checkSides(&k.sides, now, set, in, out)
	}
	if why != traffic.NotEnded {
		k.abort(why)
	}
}

// keepAlive lets the kernel give up a target that vanishes: after nine unanswered probes, one every
// 15 s. It is set at the first look at the link, so that short connections do not pay for it.
func (k *link) keepAlive() {
	if !k.target.TCP {
		return
	}
	fd := k.target.Int()
	loop.SetOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15)
	loop.SetOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15)
	loop.SetOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9)
	loop.SetOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}
