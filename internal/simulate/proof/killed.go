package proof

import (
	"fmt"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/simulate/tally"
)

// A proxy that is killed loses the lines that its kernel has acknowledged and it has not read, and
// no sender over plain TCP can know which of its last lines these are. So lines may be missing
// after a kill, and the verdict compares them with what linesplit had counted shortly before:
//
//   - without a spool, all lines that targets had confirmed must have arrived. The lines that
//     linesplit held in memory or had not read may be lost.
//   - with -spool-mode always, all lines that linesplit had read and written to the spool must
//     arrive. A connection may lack only its end.
//
// Other proxies do not report what they hold, so their losses cannot be judged.

// killedRate is in lines per second and sender: linesplit soon holds many lines when its targets
// are down.
const killedRate = 15_000

// heldAtKill is the least number of lines that linesplit holds when it is killed with all targets
// down.
const heldAtKill = 1000

// kill holds the counts of a proxy shortly before it was killed. linesplit may have read and
// confirmed more lines since.
type kill struct {
	counts
	sent map[uint32]uint64 // by sender number: lines of the senders that were connected, one connection each
}

// proxyKilled kills the proxy in every other round while targets read, and in the others with all
// targets down, so that it has many lines inside.
func proxyKilled(s *stage) {
	held := uint64(0)
	n := s.size(10, 2)
	for i := range n {
		s.startLoad(2, killedRate)
		s.awaitLines(2000)
		if i%2 == 1 {
			s.each((*sink.Sink).Exit)
			s.waitUntil("the proxy holds lines", func() bool {
				return s.counts().unconfirmed() >= heldAtKill
			})
		}
		held += s.killProxy()
		s.each(s.restart)
		s.startProxy(0, s.targetAddresses())
	}
	if s.setup.spool {
		s.awaitEmptySpool()
	}
	s.startLoad(2, steadyRate)
	s.awaitLines(400)
	s.recordStaged(held >= heldAtKill, "kills: %d, with %s lines inside that no target had confirmed", n, comma(held))
}

// killProxy kills the first proxy, ends its senders, and returns how many unconfirmed lines it
// held.
func (s *stage) killProxy() (held uint64) {
	k := kill{counts: s.counts(), sent: make(map[uint32]uint64)}
	if s.failed() {
		return 0
	}
	for _, t := range s.targets {
		s.cutOff += uint64(t.Open())
	}
	s.kill(0)
	for _, c := range s.senders {
		k.sent[c.firstID] = 0
	}
	s.endSenders()
	for id := range k.sent {
		k.sent[id] = s.sent[id]
	}
	s.kills = append(s.kills, k)
	return k.unconfirmed()
}

// awaitEmptySpool waits until all lines in the spool are confirmed.
func (s *stage) awaitEmptySpool() {
	s.waitUntil("all lines in the spool are confirmed", func() bool {
		c := s.counts()
		return c.spooled == 0 && c.unscanned == 0
	})
}

// judgeKills returns how many of the lost lines break no promise, and describes the losses in
// words.
func (s *stage) judgeKills(r tally.Report) (excused uint64, note string) {
	if len(s.kills) == 0 {
		return 0, ""
	}
	bySender := make(map[uint32]tally.Sender)
	for _, sender := range r.Senders {
		bySender[sender.ID] = sender
	}
	var held, unread, unwritten uint64
	for _, k := range s.kills {
		sent := sum(k.sent)
		unread += sent - min(k.received, sent)
		unwritten += sent - min(k.written, sent)
		held += k.received - min(k.confirmed, k.received)
		if s.setup.spool {
			excused += min(sent-min(k.written, sent), sumOver(k, bySender, lostEnd))
		} else {
			excused += min(sent-min(k.confirmed, sent), sumOver(k, bySender, lostLines))
		}
	}
	others := comma(r.Lost - excused)
	if s.setup.spool {
		return excused, fmt.Sprintf("lines lost at the ends of connections: %s. Before the kills linesplit had not read "+
			"and written %s; no sender over plain TCP can know that. Other lines lost: %s",
			comma(excused), comma(unwritten), others)
	}
	return excused, fmt.Sprintf("lines lost without a spool: %s. Before the kills linesplit held %s, and had not read %s. "+
		"Lines lost that it had counted as confirmed: %s", comma(r.Lost), comma(held), comma(unread), others)
}

// sumOver adds up a count over the senders of a kill.
func sumOver(k kill, bySender map[uint32]tally.Sender, count func(tally.Sender) uint64) (n uint64) {
	for id := range k.sent {
		n += count(bySender[id])
	}
	return n
}

func lostLines(s tally.Sender) uint64 { return s.Lost }

// lostEnd returns how many lines are lost at the end of what a sender has sent.
func lostEnd(s tally.Sender) uint64 {
	if s.Lost == 0 {
		return 0
	}
	last := s.LostSpans[len(s.LostSpans)-1]
	if last.Last != s.Sent-1 {
		return 0
	}
	return last.Last - last.First + 1
}
