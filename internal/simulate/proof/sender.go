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

// sender is a run of package send. It ends when it is told to, or has sent everything.
type sender struct {
	firstID uint32 // number in its records; the first one if it has several clients
	single  bool   // it has one client, so that lines counts the records of firstID
	lines   atomic.Uint64
	open    atomic.Int64 // connections
	stop    context.CancelFunc
	done    chan struct{}

	summary send.Summary // valid once done is closed
	err     error        // valid once done is closed
}

// startLoad starts n senders with one connection each, which send at this rate, in lines per
// second, until they are told to end.
func (s *stage) startLoad(n int, rate float64) {
	for range n {
		s.startClients(send.Options{Rate: rate})
	}
}

// startClients starts a run of package send to the proxy. It returns nil if the stage has failed.
func (s *stage) startClients(o send.Options) *sender {
	if s.failed() {
		return nil
	}
	o.To = []send.Dial{{Network: "tcp", Address: s.listen[0]}}
	o.FirstSender = s.newSenderID()
	o.Interval = pollEvery                              // which limits the precision of checkpoints
	o.Reconnect = !s.setup.proxyEnds && !s.setup.killed // a sender number is then one connection
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	c := &sender{firstID: o.FirstSender, single: o.Connections <= 1, stop: cancel, done: make(chan struct{})}
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

// awaitClients waits until a run has sent everything.
func (s *stage) awaitClients(c *sender) {
	s.waitUntil("the clients have sent everything", func() bool { return isClosed(c.done) })
}

// endSenders lets the senders complete their current lines and close, and counts what they have
// sent.
func (s *stage) endSenders() {
	for _, c := range s.senders {
		c.stop()
	}
	for _, c := range s.senders {
		<-c.done
		maps.Copy(s.sent, c.summary.Senders)
		s.checkSender(c)
	}
	s.senders = nil
}

// checkSender checks the connections of a sender. Most proxies break them when a target's
// connection breaks; linesplit never does.
func (s *stage) checkSender(c *sender) {
	if c.err != nil {
		s.fail(Failed, "senders: %w", c.err)
	}
	if !s.o.Own || s.setup.killed && s.proxies[0] == nil { // it has just been killed
		return
	}
	for kind, count := range c.summary.Clients {
		for reason, n := range count.Reasons {
			if s.setup.proxyEnds && reason == "closed" { // a proxy that shuts down may close connections
				continue
			}
			s.fail(Failed, "%s clients that failed: %d: %s", kind, n, reason)
		}
		for reason, n := range count.Lost {
			s.fail(Failed, "connections of %s clients that the proxy broke: %d: %s", kind, n, reason)
		}
	}
}

// blindSender writes and never reads, so it does not notice when the proxy closes.
type blindSender struct {
	id      uint32
	conn    *net.TCPConn
	records *record.Generator
	batch   []byte
	broken  bool // a write has failed
}

// dialBlind connects a blindSender. It returns nil if the stage has failed.
func (s *stage) dialBlind() *blindSender {
	conn, ok := s.dial()
	if !ok {
		return nil
	}
	b := &blindSender{id: s.newSenderID(), conn: conn}
	b.records = record.NewGenerator(b.id, record.Length{})
	return b
}

// writeBlindly makes senders write for a while, at the steady rate. It returns how many whole
// lines their kernels have accepted.
func (s *stage) writeBlindly(senders []*blindSender, d time.Duration) (lines uint64) {
	const tick = 10 * time.Millisecond
	for end := time.Now().Add(d); !s.failed() && time.Now().Before(end); s.wait(tick) {
		for _, b := range senders {
			n := b.write(steadyRate * int(tick) / int(time.Second))
			s.sent[b.id] += n
			lines += n
		}
	}
	return lines
}

// write writes n lines, unless an earlier write has failed.
func (b *blindSender) write(n int) uint64 {
	if b.broken {
		return 0
	}
	b.batch = appendRecords(b.batch[:0], b.records, n)
	b.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	taken, err := b.conn.Write(b.batch)
	b.broken = err != nil
	return uint64(bytes.Count(b.batch[:taken], newline))
}
