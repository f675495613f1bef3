package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"linesplit/internal/accept"
	"linesplit/internal/loop"
)

// Plain TCP and Unix connections are carried by event loops, each as a link:
//
//	listener ─▶ a loop: accept4, limits ─▶ the loop with the fewest connections:
//	   │                                   choice, connect, both directions
//	   │ PROXY headers                         ▲
//	   └─▶ a goroutine ────────────────────────┘
//
// Goroutines dial names and wait in the queue. They also carry connections with TLS on either side:
// a plain client whose target speaks TLS leaves its loop together with the dialled connection.

// detacher is a listener that may leave accepting to a loop. Detach takes it out of the runtime's
// poller and returns its descriptor, which stays the listener's; its Accept fails from then on.
// admits decides about peers; nil admits all. If the listener does more than accept, ok is false
// and nothing has changed.
type detacher interface {
	Detach() (fd int, admits func(netip.AddrPort) bool, ok bool)
}

// acceptor accepts the connections of a listener on a loop. It is their [loop.Acceptor].
type acceptor struct {
	v      *serving
	loop   *loop.Loop
	ln     loop.Listener
	admits func(netip.AddrPort) bool // nil admits all
}

// acceptOnLoop lets a loop accept. It returns nil if a goroutine has to.
func (v *serving) acceptOnLoop() (*acceptor, error) {
	ln, ok := v.ln.(detacher)
	if !ok || v.loops == nil {
		return nil, nil
	}
	fd, admits, ok := ln.Detach()
	if !ok {
		return nil, nil
	}
	a := &acceptor{v: v, loop: v.loops.Least(nil), admits: admits}
	if err := a.loop.Listen(&a.ln, fd, a); err != nil {
		return nil, fmt.Errorf("accept on %s: %w", accept.Name(v.ln), err)
	}
	return a, nil
}

// serve accepts until soft ends and then drains, as accept.Server.Serve does.
func (a *acceptor) serve(soft context.Context) {
	v := a.v
	abort := accept.After(v.cut, v.abortAll)
	defer abort()
	select {
	case <-soft.Done():
	case <-v.cut.Done():
	}
	a.close()
	ended := make(chan struct{})
	go func() { defer close(ended); v.wait() }()
	accept.Drain(v.cut, ended, v.tuned().Drain, v.cutOff)
	<-ended
}

// close accepts what is in the backlog, unless the hard end has come, and closes the listener.
func (a *acceptor) close() {
	done := make(chan struct{})
	end := sync.OnceFunc(func() { // on the loop
		a.ln.Release()
		close(done)
	})
	a.loop.Post(func() { a.ln.LastCall(end) })
	select {
	case <-done:
	case <-a.v.cut.Done():
		a.loop.Post(end)
		<-done
	}
	a.v.ln.Close()
}

// Accepted takes a new connection. The loop calls it.
func (a *acceptor) Accepted(fd int, peer netip.AddrPort) {
	if a.admits != nil && peer.IsValid() && !a.admits(peer) {
		loop.Reset(fd)
		return
	}
	k := newLink(a.v, a.loop.Now())
	k.peer = peer
	if k.client.TCP = peer.IsValid(); !k.client.TCP {
		loop.KeepUrgent(fd) // TCP inherits it from the listener
		k.from, k.to = unixAddresses(fd)
	}
	k.admit(fd, a.loop)
}

// AcceptFailed counts a failure. The loop calls it.
func (a *acceptor) AcceptFailed(err error) { a.v.failed(err) }

// startOnLoop starts a plain connection that a goroutine has accepted. It returns false, and c is
// unchanged, if goroutines have to carry it.
func (v *serving) startOnLoop(c *conn) bool {
	socket := c.client.Bare()
	if socket == nil || v.loops == nil {
		return false
	}
	fd, err := loop.Detach(socket)
	if err != nil {
		return false // no descriptor is left to detach it; goroutines need none
	}
	k := newLink(v, c.start)
	k.id, k.from, k.to = c.id, c.from, c.to
	_, k.client.TCP = socket.(*net.TCPConn)
	if a, ok := c.from.(*net.TCPAddr); ok {
		k.peer = a.AddrPort()
	}
	k.admit(fd, nil)
	return true
}

// links is the list of the links of one loop. It belongs to the loop's goroutine.
type links struct{ first *link }

func (v *serving) makeLinks() []links {
	if v.loops == nil {
		return nil
	}
	return make([]links, len(v.loops.Loops()))
}

func (s *links) add(k *link) {
	k.next = s.first
	if k.next != nil {
		k.next.prev = k
	}
	s.first, k.listed = k, true
}

func (s *links) remove(k *link) {
	if k.next != nil {
		k.next.prev = k.prev
	}
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		s.first = k.next
	}
	k.next, k.prev, k.listed = nil, nil, false
}

// eachLink lets f be called for each link, on the link's loop, and returns at once. f may end the
// link.
func (v *serving) eachLink(f func(*link)) {
	if v.loops == nil {
		return
	}
	for i, l := range v.loops.Loops() {
		l.Post(func() {
			for k := v.links[i].first; k != nil; {
				next := k.next
				f(k)
				k = next
			}
		})
	}
}

// describeLinks describes at most limit of the links.
func (v *serving) describeLinks(limit int) (all []Connection) {
	if v.loops == nil || limit <= 0 {
		return nil
	}
	got := make(chan []Connection, 1)
	for i, l := range v.loops.Loops() {
		room := limit - len(all)
		if l.Post(func() { got <- v.links[i].describe(room) }) {
			all = append(all, <-got...)
		}
	}
	return all
}

func (s *links) describe(limit int) (all []Connection) {
	for k := s.first; k != nil && len(all) < limit; k = k.next {
		all = append(all, k.describe())
	}
	return all
}
