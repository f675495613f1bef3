package relay

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"linesplit/internal/accept"
	"linesplit/internal/loop"
)

// Plain TCP and Unix connections are carried by event loops, each as a link:
//
//	listener ─▶ each loop: accept4, limits ─▶ this loop, or one with fewer connections:
//	   │                                      choice, connect, both directions
//	   │ PROXY headers                            ▲
//	   └─▶ a goroutine ───────────────────────────┘
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

// acceptors accept the connections of a listener, one on each loop. There is at least one, or the
// value is nil.
type acceptors []*acceptor

// acceptor accepts on a loop. It is the [loop.Acceptor] of its connections.
type acceptor struct {
	v      *serving
	loop   *loop.Loop
	ln     loop.Listener
	admits func(netip.AddrPort) bool // nil admits all
	end    func()                    // ends accepting and closes ended; called on the loop
	ended  chan struct{}
}

// acceptOnLoops lets loops accept. It returns none if a goroutine has to.
func (v *serving) acceptOnLoops() (acceptors, error) {
	ln, ok := v.ln.(detacher)
	if !ok || v.loops == nil {
		return nil, nil
	}
	fd, admits, ok := ln.Detach()
	if !ok {
		return nil, nil
	}
	first, err := v.newAcceptor(v.loops.Loops()[0], fd, admits)
	if err != nil {
		return nil, fmt.Errorf("accept on %s: %w", accept.Name(v.ln), err)
	}
	first.end = sync.OnceFunc(func() {
		first.ln.Release() // fd is the listener's
		close(first.ended)
	})
	all := acceptors{first}
	for _, l := range v.loops.Loops()[1:] {
		a, err := v.anotherAcceptor(l, fd, admits)
		if err != nil {
			v.logger.Warn("not all event loops accept connections",
				slog.String("listener", accept.Name(v.ln)), slog.Any("err", err))
			break
		}
		all = append(all, a)
	}
	return all, nil
}

// anotherAcceptor accepts with a copy of fd, which it owns.
func (v *serving) anotherAcceptor(l *loop.Loop, fd int, admits func(netip.AddrPort) bool) (*acceptor, error) {
	fd, err := loop.Duplicate(fd)
	if err != nil {
		return nil, err
	}
	a, err := v.newAcceptor(l, fd, admits)
	if err != nil {
		loop.Close(fd)
		return nil, err
	}
	a.end = sync.OnceFunc(func() {
		a.ln.Close()
		close(a.ended)
	})
	return a, nil
}

func (v *serving) newAcceptor(l *loop.Loop, fd int, admits func(netip.AddrPort) bool) (*acceptor, error) {
	a := &acceptor{v: v, loop: l, admits: admits, ended: make(chan struct{})}
	return a, l.Listen(&a.ln, fd, a)
}

// serve accepts until soft ends and then drains, as accept.Server.Serve does.
func (all acceptors) serve(soft context.Context) {
	v := all[0].v
	abort := accept.After(v.cut, v.abortAll)
	defer abort()
	select {
	case <-soft.Done():
	case <-v.cut.Done():
	}
	all.close()
	ended := make(chan struct{})
	go func() { defer close(ended); v.wait() }()
	accept.Drain(v.cut, ended, v.tuned().Drain, v.cutOff)
	<-ended
}

// close accepts what is in the backlog, unless the hard end has come or another listener does so,
// and closes the listener.
func (all acceptors) close() {
	v := all[0].v
	for _, a := range all {
		if accept.PassedOn(v.ln) {
			a.loop.Post(a.end)
			continue
		}
		a.loop.Post(func() { a.ln.LastCall(a.end) })
	}
	for _, a := range all {
		select {
		case <-a.ended:
		case <-v.cut.Done():
			a.loop.Post(a.end)
			<-a.ended
		}
	}
	v.ln.Close()
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
	k.id, k.from, k.to, k.sni = c.id, c.from, c.to, c.sni
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
