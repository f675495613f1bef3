package splitter

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"linesplit/internal/accept"
	"linesplit/internal/clientlimit"
	"linesplit/internal/intake"
	"linesplit/internal/stranger"
	"linesplit/linebuf"
	"linesplit/tlsconf"
)

// Sender is a connection that something else than the Splitter serves, which hands over its lines.
// The Splitter counts both all the same. One goroutine at a time calls Send.
type Sender struct {
	s      *Splitter
	client netip.Addr
	outlet Outlet

	id            uint64 // registry sets it, once
	links[Sender]        // guarded by registry.mu
	nc            net.Conn
	ln            net.Listener
	since         time.Time
	received      linebuf.AtomicCount // lines that were handed over, or dropped
}

// Admit counts nc, which ln has accepted and the caller serves, as a sender. It resets nc and
// returns false if nc is over a limit of its address. Otherwise the caller calls Leave once nc is
// closed.
func (s *Splitter) Admit(nc net.Conn, ln net.Listener) (*Sender, bool) {
	s.counters.accepted.Add(1)
	x := &Sender{s: s, client: clientOf(nc), nc: nc, ln: ln, since: time.Now()}
	if verdict := s.clients.byAddr.Admit(x.client, s.tuned().PerClient); verdict != clientlimit.Admitted {
		s.refuse(nc, verdict, ln)
		return nil, false
	}
	x.outlet = s.o.Outlet()
	s.counters.connections.Add(1)
	s.registry.addSender(x)
	return x, true
}

// Leave ends the sender, whose connection is closed. It is called once.
func (x *Sender) Leave() {
	x.s.registry.removeSender(x)
	x.s.clients.byAddr.Dismiss(x.client)
	x.s.counters.connections.Add(-1)
}

func (x *Sender) describe() Connection {
	received := x.received.Load()
	return Connection{
		ID: x.id, Peer: x.nc.RemoteAddr().String(), Listener: accept.Name(x.ln),
		Lines: received.Lines, Bytes: received.Bytes, Since: x.since,
	}
}

// Send hands over b, and waits while the lines have no room. It returns how many lines were dropped
// for lack of a key. The error is that of ctx: then b, with the lines that were not handed over,
// still belongs to the caller. No Send is under way when the channel of the Splitter is closed.
func (x *Sender) Send(ctx context.Context, b *linebuf.Buffer) (keyless linebuf.Count, err error) {
	if o, ok := x.outlet.(KeyedOutlet); ok {
		return x.sendKeyed(ctx, o, b)
	}
	n := b.Count()
	if !x.outlet.Offer(b) {
		select {
		case x.s.out <- b:
		case <-ctx.Done():
			return keyless, ctx.Err()
		}
	}
	x.received.Add(n)
	x.s.counters.queue(n)
	return keyless, nil
}

func (x *Sender) sendKeyed(ctx context.Context, o KeyedOutlet, b *linebuf.Buffer) (keyless linebuf.Count, err error) {
	for {
		room := o.Room()
		n := b.Count()
		done := o.Offer(b)
		if !done {
			n.Sub(b.Count())
		}
		x.received.Add(n)
		o.Flush()
		if dropped := o.TakeDropped(); dropped.Lines > 0 {
			n.Sub(dropped)
			keyless.Add(dropped)
			x.s.counters.drop(intake.ReasonKeyless, dropped)
		}
		x.s.counters.queue(n)
		if done {
			return keyless, nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return keyless, ctx.Err()
		}
	}
}

// AwaitRoom waits until one more sender is within Tuning.MaxConnections. It returns false if ctx
// ends first; WakeWaiting makes it look.
func (s *Splitter) AwaitRoom(ctx context.Context) bool { return s.registry.waitForRoom(ctx, s) }

// WakeWaiting makes calls of AwaitRoom look at their contexts.
func (s *Splitter) WakeWaiting() { s.registry.wake() }

// NoteCutOff counts a sender of Admit that was still sending when the drain or the process ended.
func (s *Splitter) NoteCutOff() { s.counters.cutOff.Add(1) }

// AcceptFailed counts and logs a failure of Accept that is tried again.
func (s *Splitter) AcceptFailed(ln net.Listener, err error) {
	s.counters.acceptErrors.Add(1)
	s.acceptFailed.Warn(s.o.Logger, "accept failed, trying again",
		slog.String("listener", accept.Name(ln)), slog.Any("err", err))
}

// HandshakeFailed counts and logs the failed TLS handshake of a sender of Admit, unless the sender
// had only tried the port.
func (s *Splitter) HandshakeFailed(nc net.Conn, err error) {
	if accept.IsProbe(err) {
		return
	}
	s.counters.handshakeErrors.Add(1)
	attrs := []slog.Attr{slog.String("peer", nc.RemoteAddr().String()), slog.Any("err", stranger.Explain(err))}
	if advice := tlsconf.ListenerAdvice(err); advice != "" {
		attrs = append(attrs, slog.String("advice", advice))
	}
	s.handshakesFailed.Of(tlsconf.HandshakeFault(err)).Warn(s.o.Logger, "TLS handshake failed", attrs...)
}

// DropOversize counts and logs a line that is longer than maxLine, and that is not handed over.
// Bytes counts what has been read of it.
func (x *Sender) DropOversize(maxLine, bytes int) {
	n := linebuf.Count{Lines: 1, Bytes: uint64(bytes)}
	x.received.Add(n)
	x.s.counters.drop(intake.ReasonOversize, n)
	x.s.losses.add(intake.ReasonOversize, n, lossExample{peer: x.nc.RemoteAddr(), ln: x.ln, maxLine: maxLine})
}
