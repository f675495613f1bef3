package splitter

import (
	"context"
	"log/slog"
	"net"

	"linesplit/internal/accept"
	"linesplit/internal/clientlimit"
	"linesplit/internal/intake"
	"linesplit/internal/stranger"
	"linesplit/linebuf"
	"linesplit/tlsconf"
)

// Feed hands over buffers of lines that come from elsewhere than a connection of the Splitter,
// which counts them all the same. One goroutine at a time uses it.
type Feed struct {
	s      *Splitter
	outlet Outlet
}

// NewFeed returns a Feed for the lines of one sender.
func (s *Splitter) NewFeed() *Feed { return &Feed{s, s.o.Outlet()} }

// Send hands over b, and waits while the lines have no room. It returns how many lines were dropped
// for lack of a key. The error is that of ctx: then b, with the lines that were not handed over,
// still belongs to the caller. No Send is under way when the channel of the Splitter is closed.
func (f *Feed) Send(ctx context.Context, b *linebuf.Buffer) (keyless linebuf.Count, err error) {
	if o, ok := f.outlet.(KeyedOutlet); ok {
		return f.sendKeyed(ctx, o, b)
	}
	n := b.Count()
	if !f.outlet.Offer(b) {
		select {
		case f.s.out <- b:
		case <-ctx.Done():
			return keyless, ctx.Err()
		}
	}
	f.s.counters.queue(n)
	return keyless, nil
}

func (f *Feed) sendKeyed(ctx context.Context, o KeyedOutlet, b *linebuf.Buffer) (keyless linebuf.Count, err error) {
	for {
		room := o.Room()
		n := b.Count()
		done := o.Offer(b)
		if !done {
			n.Sub(b.Count())
		}
		o.Flush()
		if dropped := o.TakeDropped(); dropped.Lines > 0 {
			n.Sub(dropped)
			keyless.Add(dropped)
			f.s.counters.drop(intake.ReasonKeyless, dropped)
		}
		f.s.counters.queue(n)
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

// Admit counts nc, which ln has accepted and something else serves, as a sender of the Splitter. It
// resets nc and returns false if nc is over a limit of its address. Otherwise the caller calls
// leave once nc is closed.
func (s *Splitter) Admit(nc net.Conn, ln net.Listener) (leave func(), ok bool) {
	s.counters.accepted.Add(1)
	client := clientOf(nc)
	if verdict := s.clients.byAddr.Admit(client, s.tuned().PerClient); verdict != clientlimit.Admitted {
		s.refuse(nc, verdict, ln)
		return nil, false
	}
	s.counters.connections.Add(1)
	s.registry.addGuest(1)
	return func() {
		s.registry.addGuest(-1)
		s.clients.byAddr.Dismiss(client)
		s.counters.connections.Add(-1)
	}, true
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

// DropOversize counts and logs a line of a sender of Admit that is longer than maxLine, and that is
// not handed over. Bytes counts what has been read of it.
func (s *Splitter) DropOversize(nc net.Conn, ln net.Listener, maxLine, bytes int) {
	n := linebuf.Count{Lines: 1, Bytes: uint64(bytes)}
	s.counters.drop(intake.ReasonOversize, n)
	s.losses.add(intake.ReasonOversize, n, lossExample{peer: nc.RemoteAddr(), ln: ln, maxLine: maxLine})
}
