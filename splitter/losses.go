package splitter

import (
	"context"
	"log/slog"
	"net"
	"sync"

	"linesplit/internal/accept"
	"linesplit/internal/intake"
	"linesplit/internal/loglimit"
	"linesplit/linebuf"
)

// losses logs dropped and truncated lines in sum: one line in the log per reason and period, with
// the number of lines and bytes, and one peer as an example.
type losses struct {
	logger *slog.Logger
	by     [intake.NumReasons]loss
}

// loss sums up what has been dropped for one reason and is not in the log yet.
type loss struct {
	limiter loglimit.Limiter
	log     func(count int) // bound once, so that counting does not allocate

	mu   sync.Mutex // guards the fields below
	n    linebuf.Count
	last lossExample
}

// lossExample is the latest loss.
type lossExample struct {
	peer    net.Addr
	ln      net.Listener
	maxLine int
	err     error // why the connection broke; nil for reasons other than torn
}

func (l *losses) init(logger *slog.Logger) {
	l.logger = logger
	for why := range l.by {
		l.by[why].log = func(int) { l.write(intake.Reason(why)) }
	}
}

// flush logs what is held back.
func (l *losses) flush() {
	for why := range l.by {
		l.by[why].limiter.Flush()
	}
}

func (l *losses) add(why intake.Reason, n linebuf.Count, example lossExample) {
	s := &l.by[why]
	s.mu.Lock()
	s.n.Add(n)
	s.last = example
	s.mu.Unlock()
	s.limiter.Do(s.log)
}

func (l *losses) write(why intake.Reason) {
	n, last := l.by[why].take()
	if n == (linebuf.Count{}) { // another event's line had it already
		return
	}
	msg := "lines dropped"
	if why == intake.ReasonTruncated {
		msg = "lines truncated"
	}
	attrs := []slog.Attr{
		slog.String("reason", why.String()), slog.Uint64("lines", n.Lines), slog.Uint64("bytes", n.Bytes),
		slog.String("listener", accept.Name(last.ln)),
	}
	if peer := peerName(last.peer); peer != "" {
		attrs = append(attrs, slog.String("peer", peer))
	}
	switch {
	case last.err != nil:
		attrs = append(attrs, slog.Any("err", last.err))
	case why == intake.ReasonOversize || why == intake.ReasonTruncated:
		attrs = append(attrs, slog.Int("max_line", last.maxLine))
	}
	l.logger.LogAttrs(context.Background(), slog.LevelWarn, msg, attrs...)
}

// take returns the sum since the last take. The example no longer holds anything in memory.
func (s *loss) take() (n linebuf.Count, last lossExample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, last = s.n, s.last
	s.n, s.last = linebuf.Count{}, lossExample{}
	return n, last
}

// peerName returns a sender's address, or "" if it has none: Unix sockets and stdin have none, and
// a UDP listener takes the datagrams of all its senders as one connection.
func peerName(a net.Addr) string {
	switch a := a.(type) {
	case nil, *net.UnixAddr:
		return ""
	case *net.UDPAddr:
		if a.IP == nil {
			return ""
		}
	}
	return a.String()
}

// Lost counts the losses of the stream. It implements [intake.Driver].
func (c *conn) Lost(l intake.Losses) {
	c.v.counters.lost(&l)
	c.received.Add(linebuf.Count{Lines: l.Lines()})
	for why, n := range l.Dropped {
		if n == (linebuf.Count{}) {
			continue
		}
		why := intake.Reason(why)
		if why == intake.ReasonTruncated {
			n.Lines = l.Truncated
		}
		c.v.losses.add(why, n, lossExample{peer: c.nc.RemoteAddr(), ln: c.v.ln, maxLine: l.MaxLine})
	}
}

// countDrop counts lines that are dropped because of err.
func (c *conn) countDrop(why intake.Reason, n linebuf.Count, err error) {
	c.v.counters.drop(why, n)
	c.v.losses.add(why, n, lossExample{peer: c.nc.RemoteAddr(), ln: c.v.ln, err: err})
}

// FlushLog logs the events that the log has held back to report them in sum. It is for the end,
// when all calls of Serve have returned.
func (s *Splitter) FlushLog() {
	s.losses.flush()
	s.hints.logs.Flush()
	s.acceptFailed.Flush()
	s.datagramsFailed.Flush()
	s.handshakesFailed.Flush()
	s.limitLog.Flush()
	for i := range s.clients.refused {
		s.clients.refused[i].log.Flush()
	}
}
