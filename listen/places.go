package listen

import (
	"net"
	"sync"
	"time"
)

// overdueAfter is how long the first bytes of a connection may take while other connections wait
// for a place. Most clients send them at once.
const overdueAfter = 250 * time.Millisecond

// places bounds the connections that have been accepted and whose first bytes are awaited. When all
// places are taken, the connection that has waited longest gives way, so that silent peers do not
// keep others out.
type places struct {
	taken   chan struct{} // holds one element per place that is taken
	closing chan struct{}

	mu      sync.Mutex // guards the fields below
	closed  bool
	waiting map[net.Conn]time.Time // whose first bytes have not come, since when
}

func newPlaces(n int) *places {
	return &places{
		taken: make(chan struct{}, n), closing: make(chan struct{}), waiting: make(map[net.Conn]time.Time),
	}
}

// enter waits for a place for conn, whose first bytes then have a time limit: the read deadline. It
// returns false after close. The caller calls leave in the end.
func (p *places) enter(conn net.Conn, limit time.Duration) bool {
	if !p.take() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.leave()
		return false
	}
	now := time.Now()
	p.waiting[conn] = now
	conn.SetReadDeadline(now.Add(limit))
	return true
}

// take waits for a place. It returns false after close.
func (p *places) take() bool {
	for wait := time.Duration(0); ; wait = p.displace() {
		select {
		case p.taken <- struct{}{}:
			return true
		case <-p.closing:
			return false
		default:
		}
		select {
		case p.taken <- struct{}{}:
			return true
		case <-p.closing:
			return false
		case <-time.After(wait):
		}
	}
}

// displace ends the wait that is overdue longest, and returns how long to wait for its place, or
// else for one to be overdue.
func (p *places) displace() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var oldest net.Conn
	for conn, began := range p.waiting {
		if oldest == nil || began.Before(p.waiting[oldest]) {
			oldest = conn
		}
	}
	if oldest == nil { // all have come and wait for Accept
		return overdueAfter
	}
	if age := time.Since(p.waiting[oldest]); age < overdueAfter {
		return overdueAfter - age
	}
	delete(p.waiting, oldest)
	oldest.SetReadDeadline(past)
	return overdueAfter
}

// expects reports whether connections that were accepted before a time may still be handed on:
// their first bytes have come, or are not overdue yet. After overdueAfter none is expected.
func (p *places) expects(before time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(before) >= overdueAfter {
		return false
	}
	for _, began := range p.waiting {
		if !began.After(before) && time.Since(began) < overdueAfter {
			return true
		}
	}
	return len(p.taken) > len(p.waiting) // some are being handed on
}

// settled notes that the wait for conn's first bytes is over, and takes its read deadline away. It
// returns false if displace or close has ended the wait.
func (p *places) settled(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := p.waiting[conn]
	delete(p.waiting, conn)
	conn.SetReadDeadline(time.Time{})
	return was
}

func (p *places) leave() { <-p.taken }

// close ends all waits. It may be called once.
func (p *places) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	close(p.closing)
	for conn := range p.waiting {
		conn.SetReadDeadline(past)
	}
	clear(p.waiting)
}
