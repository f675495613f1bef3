package discovery

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// recorder watches the DNS messages of one lookup. Its methods are safe for concurrent use.
type recorder struct {
	mu        sync.Mutex
	questions []*question // in the order in which they were first asked
}

// question is what a server was asked, at least once.
type question struct {
	asked    dnsmessage.Question
	answered bool          // by a good reply: with records, or that there are none
	refused  bool          // by a server that will hardly ever answer it
	records  bool          // there are
	ttl      time.Duration // the least of theirs
}

// watch returns conn with eyes on it. Package net tells UDP from TCP by whether the connection is
// a net.PacketConn.
func (r *recorder) watch(conn net.Conn) net.Conn {
	if udp, ok := conn.(*net.UDPConn); ok {
		return &udpConn{UDPConn: udp, r: r}
	}
	return &tcpConn{Conn: conn, r: r}
}

type udpConn struct {
	*net.UDPConn
	r    *recorder
	sent exchange
}

func (c *udpConn) Write(p []byte) (int, error) {
	c.sent = c.r.ask(p)
	return c.UDPConn.Write(p)
}

func (c *udpConn) Read(p []byte) (int, error) {
	n, err := c.UDPConn.Read(p)
	c.r.reply(c.sent, p[:n])
	return n, err
}

// tcpConn carries messages that follow their length, of two bytes.
type tcpConn struct {
	net.Conn
	r    *recorder
	sent exchange
	in   []byte // of the message that is coming; at most one, since package net asks one question
}

func (c *tcpConn) Write(p []byte) (int, error) {
	if len(p) > 2 {
		c.sent = c.r.ask(p[2:])
	}
	return c.Conn.Write(p)
}

func (c *tcpConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in = append(c.in, p[:n]...)
	if len(c.in) >= 2 {
		if size := 2 + int(binary.BigEndian.Uint16(c.in)); len(c.in) >= size {
			c.r.reply(c.sent, c.in[2:size])
			c.in = c.in[size:]
		}
	}
	return n, err
}

// exchange is a question that was sent, with the number that its reply carries.
type exchange struct {
	id uint16
	q  *question
}

func (r *recorder) ask(message []byte) exchange {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return exchange{}
	}
	asked, err := p.Question()
	if err != nil {
		return exchange{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.questions {
		if same(q.asked, asked) {
			return exchange{h.ID, q}
		}
	}
	q := &question{asked: asked}
	r.questions = append(r.questions, q)
	return exchange{h.ID, q}
}

// reply notes a reply to a question. One that package net does not accept is none.
func (r *recorder) reply(e exchange, message []byte) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || e.q == nil || h.ID != e.id || !h.Response || h.Truncated {
		return
	}
	q, err := p.Question()
	if err != nil || !same(q, e.q.asked) || p.SkipAllQuestions() != nil {
		return
	}
	records, ttl, ok := leastTTL(&p, e.q.asked.Type)
	if h.RCode == dnsmessage.RCodeRefused {
		r.mu.Lock()
		defer r.mu.Unlock()
		e.q.refused = true
		return
	}
	switch {
	case !ok:
		return
	case h.RCode == dnsmessage.RCodeNameError:
	case h.RCode != dnsmessage.RCodeSuccess:
		return
	case !records && !h.Authoritative && !h.RecursionAvailable: // a referral to another server
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.q.answered, e.q.records, e.q.ttl = true, records, ttl
}

// leastTTL reads the answers, and returns whether there are any of a type, and the shortest of
// their times and of the aliases that lead to them.
func leastTTL(p *dnsmessage.Parser, kind dnsmessage.Type) (records bool, ttl time.Duration, ok bool) {
	least := uint32(1 << 31)
	for {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return records, time.Duration(least) * time.Second, true
		}
		if err != nil || p.SkipAnswer() != nil {
			return false, 0, false
		}
		if h.Type == kind || h.Type == dnsmessage.TypeCNAME {
			records = records || h.Type == kind
			least = min(least, h.TTL)
		}
	}
}

func same(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && strings.EqualFold(a.Name.String(), b.Name.String())
}

// unanswered returns a question that no server has answered, and whether it was about another name
// than the records that were found. A server may refuse to be asked about other names at all, such
// as those without a domain.
func (r *recorder) unanswered() (failed string, elsewhere bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := ""
	for _, q := range r.questions {
		if q.answered && q.records {
			found = q.asked.Name.String()
		}
	}
	for _, q := range r.questions {
		if q.answered {
			continue
		}
		name := q.asked.Name.String()
		other := found != "" && !strings.EqualFold(name, found)
		if other && q.refused {
			continue
		}
		if failed == "" || other {
			failed, elsewhere = strings.TrimPrefix(q.asked.Type.String(), "Type")+" "+name, elsewhere || other
		}
	}
	return failed, elsewhere
}

// ttl returns the shortest time of the records that were found; 0 if none were.
func (r *recorder) ttl() (least time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.questions {
		if q.answered && q.records && (least == 0 || q.ttl < least) {
			least = q.ttl
		}
	}
	if least == 0 && len(r.questions) > 0 {
		return minTTL // the records say 0
	}
	return least
}
