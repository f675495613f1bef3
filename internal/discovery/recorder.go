package discovery

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// recorder reads the DNS messages of one lookup as package net sends and receives them. Its methods
// are safe for concurrent use.
type recorder struct {
	mu        sync.Mutex
	questions []*question // in the order in which they were first asked
}

// question is a question that servers were asked at least once.
type question struct {
	asked    dnsmessage.Question
	answered bool          // a server has replied with records, or that there are none
	refused  bool          // a server has refused it, and will hardly ever answer it
	records  bool          // the answer has records
	ttl      time.Duration // the shortest TTL of these
}

// watch returns a connection that passes the messages on conn to r. It is a net.PacketConn if conn
// is one: package net takes any other connection for TCP.
func (r *recorder) watch(conn net.Conn) net.Conn {
	if udp, ok := conn.(*net.UDPConn); ok {
		return &udpConn{UDPConn: udp, r: r}
	}
	return &tcpConn{Conn: conn, r: r}
}

// udpConn is a connection with one message in each datagram.
type udpConn struct {
	*net.UDPConn
	r    *recorder
	sent exchange // the last message sent
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

// tcpConn is a connection on which each message follows its length, in two bytes.
type tcpConn struct {
	net.Conn
	r    *recorder
	sent exchange // the last message sent
	in   []byte   // the start of the next message; package net asks one question at a time
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

// exchange is a question that was sent.
type exchange struct {
	id uint16    // of the message; its reply has the same
	q  *question // nil if the message was not understood
}

// ask notes the question in a message that is sent.
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

// reply notes the reply to a question. It ignores replies that package net does not accept.
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

// leastTTL reads the answers of a reply. It reports whether there are any of the type kind, and
// returns the shortest TTL of these and of the aliases that lead to them. ok is false if the reply
// is malformed.
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

// same reports whether two questions are the same; names are compared without case.
func same(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && strings.EqualFold(a.Name.String(), b.Name.String())
}

// unanswered returns a question that no server has answered, or "". elsewhere reports whether it
// was about another name than the records that were found. unanswered ignores questions about other
// names that a server has refused: some servers refuse all names without a domain, for example.
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

// ttl returns the shortest TTL of the records that were found, or minTTL if that is 0 or there are
// no records. It returns 0 if no server was asked.
func (r *recorder) ttl() (least time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.questions {
		if q.answered && q.records && (least == 0 || q.ttl < least) {
			least = q.ttl
		}
	}
	if least == 0 && len(r.questions) > 0 {
		return minTTL
	}
	return least
}
