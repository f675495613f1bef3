package proof

import (
	"bytes"
	"context"
	"maps"
	"net"
	"sync/atomic"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/send"
)

// sender is a run of package send, which goes on until it is told to end or has sent all it had to.
type sender struct {
	first  uint32 // number in its records: the first, if it has several
	single bool   // it is one sender, so that lines is of that number
	lines  atomic.Uint64
	open   atomic.Int64 // connections
	stop   context.CancelFunc
	done   chan struct{}

	summary send.Summary // valid once done is closed
	err     error        // the same
}

// load starts senders of one connection each, which write this many lines per second until the end.
func (s *stage) load(n int, rate float64) {
	for range n {
		s.client(send.Options{Rate: rate})
	}
}

// client starts a run. It is told where to connect here. Nil if the stage has failed.
func (s *stage) client(o send.Options) *sender {
	if s.failed() {
		return nil
	}
	o.To = []send.Dial{{Network: "tcp", Address: s.listen[0]}}
	o.FirstSender = s.newSender()
	o.Interval = lookEvery // marks are as exact as that
	o.Reconnect = !s.cast.proxyEnds
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	c := &sender{first: o.FirstSender, single: o.Connections <= 1, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.summary, c.err = send.Run(ctx, o, func(p send.Progress) {
			c.lines.Store(p.Lines)
			c.open.Store(int64(p.Open))
		})
	}()
	s.senders = append(s.senders, c)
	return c
}

// await waits until a run has sent all it had to.
func (s *stage) await(c *sender) {
	s.until("clients have sent all they had to", func() bool { return isClosed(c.done) })
}

// endSenders lets the senders finish the lines they are in, and close. What they have sent is counted.
func (s *stage) endSenders() {
	for _, c := range s.senders {
		c.stop()
	}
	for _, c := range s.senders {
		<-c.done
		maps.Copy(s.sent, c.summary.Senders)
		s.judgeSender(c)
	}
	s.senders = nil
}

// judgeSender says what was not well about a sender's connections. Most proxies break them where a target's breaks; linesplit never does.
func (s *stage) judgeSender(c *sender) {
	if c.err != nil {
		s.fail(Failed, "senders: %w", c.err)
	}
	if !s.o.Own {
		return
	}
	for kind, count := range c.summary.Clients {
		for reason, n := range count.Reasons {
			if s.cast.proxyEnds && reason == "closed" { // in order: it may say so
				continue
			}
			s.fail(Failed, "%d %s clients failed: %s", n, kind, reason)
		}
		for reason, n := range count.Lost {
			s.fail(Failed, "the proxy broke %d connections of %s clients: %s", n, kind, reason)
		}
	}
}

// blindSender writes and never reads, so that it takes no notice of a proxy that says goodbye.
type blindSender struct {
	id      uint32
	conn    *net.TCPConn
	records *record.Generator
	batch   []byte
	broken  bool // a write has failed
}

// blind connects one. Nil if the stage has failed.
func (s *stage) blind() *blindSender {
	conn, ok := s.dial()
	if !ok {
		return nil
	}
	b := &blindSender{id: s.newSender(), conn: conn}
	b.records = record.NewGenerator(b.id, record.Length{})
	return b
}

// writeBlindly lets senders write for a while, at the steady rate, and returns how many whole lines their kernels took.
func (s *stage) writeBlindly(senders []*blindSender, d time.Duration) (lines uint64) {
	const beat = 10 * time.Millisecond
	for end := time.Now().Add(d); !s.failed() && time.Now().Before(end); s.pass(beat) {
		for _, b := range senders {
			n := b.write(steady * int(beat) / int(time.Second))
			s.sent[b.id] += n
			lines += n
		}
	}
	return lines
}

// write writes n lines, unless it has failed before.
func (b *blindSender) write(n int) uint64 {
	if b.broken {
		return 0
	}
	b.batch = appendRecords(b.batch[:0], b.records, n)
	b.conn.SetWriteDeadline(time.Now().Add(handLimit))
	taken, err := b.conn.Write(b.batch)
	b.broken = err != nil
	return uint64(bytes.Count(b.batch[:taken], newline))
}
