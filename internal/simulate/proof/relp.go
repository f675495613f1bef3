package proof

import (
	"sync"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/relppeer"
)

// relpSender sends records over RELP, and keeps each until it has its response.
type relpSender struct {
	id      uint32
	client  *relppeer.Client
	quit    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex // guards records
	records *record.Generator
}

// ahead is the most lines without a response for which a sender makes more.
const ahead = 4096

// startRELPSenders starts n senders that send at the steady rate until they are told to end, or
// slower than that while responses do not come.
func (s *stage) startRELPSenders(n int) {
	for range n {
		if s.failed() {
			return
		}
		c := &relpSender{id: s.newSenderID(), client: relppeer.Start(s.relpListen), quit: make(chan struct{})}
		c.records = record.NewGenerator(c.id, record.Length{})
		c.running.Go(c.send)
		s.relpSenders = append(s.relpSenders, c)
	}
}

func (c *relpSender) send() {
	const tick = 10 * time.Millisecond
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-t.C:
		}
		if c.client.Waiting() < ahead {
			c.add(steadyRate * int(tick) / int(time.Second))
		}
	}
}

func (c *relpSender) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		line := c.records.Append(nil, time.Now())
		c.client.Add(line[:len(line)-1])
	}
}

// sent returns how many records the sender has made.
func (c *relpSender) sent() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.Next()
}

// endRELPSenders lets the senders wait for the responses to what they have sent, and ends them.
func (s *stage) endRELPSenders() {
	for _, c := range s.relpSenders {
		close(c.quit)
		c.running.Wait()
	}
	for _, c := range s.relpSenders {
		s.waitUntil("each line over RELP has its response", func() bool { return c.client.Waiting() == 0 })
		c.client.Close()
		s.sent[c.id] = c.sent() - uint64(c.client.Waiting())
	}
	s.relpSenders = nil
}

// startRELPTarget starts another target that speaks RELP.
func (s *stage) startRELPTarget() {
	t, err := relppeer.StartServer(s.tally)
	if err != nil {
		s.fail(Unproven, "start a target: %w", err)
		return
	}
	s.acking = append(s.acking, t)
}

// relpEndToEnd lets two targets that speak RELP fail in every way, restarts them, and kills
// linesplit. Its senders speak RELP, too, and send again what has no response: so that no line may
// be missing.
func relpEndToEnd(s *stage) {
	s.startRELPSenders(2)
	for i, t := range s.acking {
		t.Fail(uint64(i + 1))
	}
	n := s.size(6, 2)
	for i := range n {
		s.awaitLines(2000)
		if s.failed() {
			return
		}
		s.restartAcking(i)
		s.awaitLines(500)
		if s.failed() {
			return
		}
		s.kill(0)
		s.startProxy(0, s.targetAddresses())
	}
	repeated, lost := uint64(0), uint64(0)
	for _, t := range s.acking {
		t.Fail(0)
		lost += t.(*relppeer.Server).Lost()
	}
	s.awaitLines(400)
	for _, c := range s.relpSenders {
		repeated += c.client.Repeated()
	}
	s.recordStaged(repeated > 0 && lost > 0, "kills of linesplit: %d; restarts of targets: %d; responses that were lost: %d", n, n, lost)
}
