package relay

import (
	"context"
	"net"
	"net/netip"

	"linesplit/internal/accept"
	"linesplit/internal/loop"
)

// Plain TCP and Unix connections are carried by event loops, each as a link:
//
//	listener ─▶ a loop: accept4, limits ─▶ the loop with the fewest: choice, connect, both directions
//	   │ PROXY headers                        ▲  dials by name, the queue: goroutines
//	   └─▶ a goroutine ───────────────────────┘
//
// Goroutines carry connections with TLS on either side. A plain client whose target speaks TLS
// leaves its loop together with the dialled connection.

// detachable is a listener that only accepts, so that a loop can do it. Detach takes it out of the
// runtime's poller and returns its descriptor, which stays the listener's; its Accept fails from
// then on. admits decides about peers; nil admits all. ok is false, and nothing has changed, if the
// listener does more than accept.
type detachable interface {
	Detach() (fd int, admits func(netip.AddrPort) bool, ok bool)
}

// door accepts the connections of a listener on a loop.
type door struct {
	v      *serving
	loop   *loop.Loop
	ln     loop.Listener
	admits func(netip.AddrPort) bool
}

// openDoor lets a loop accept. It returns nil if goroutines have to.
func (v *serving) openDoor() (*door, error) {
	ln, ok := v.ln.(detachable)
	if !ok || v.loops == nil {
		return nil, nil
	}
	fd, admits, ok := ln.Detach()
	if !ok {
		return nil, nil
	}
	d := &door{v: v, loop: v.loops.Least(nil), admits: admits}
	return d, d.loop.Listen(&d.ln, fd, d)
}

// serve is accept.Server.Serve for a door.
func (d *door) serve(soft context.Context) {
	v := d.v
	abort := accept.After(v.cut, v.abortAll)
	defer abort()
	select {
	case <-soft.Done():
	case <-v.cut.Done():
	}
	d.close()
	ended := make(chan struct{})
	go func() { defer close(ended); v.wait() }()
	accept.Drain(v.cut, ended, v.tuned().Drain, v.cutOff)
	<-ended
}

// close accepts what is in the backlog, unless the hard end has come, and closes the listener.
func (d *door) close() {
	done := make(chan struct{})
	end := func() {
		if !isClosed(done) {
			d.ln.Release()
			close(done)
		}
	}
	d.loop.Post(func() { d.ln.LastCall(end) })
	select {
	case <-done:
	case <-d.v.cut.Done():
		d.loop.Post(end)
		<-done
	}
	d.v.ln.Close()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Accepted takes a new connection. The loop calls it.
func (d *door) Accepted(fd int, peer netip.AddrPort) {
	if d.admits != nil && peer.IsValid() && !d.admits(peer) {
		loop.Reset(fd)
		return
	}
	k := &link{v: d.v, start: d.loop.Now(), peer: peer}
	if k.client.TCP = peer.IsValid(); !k.client.TCP {
		k.from, k.to = unixAddresses(fd)
	}
	k.admit(fd, d.loop)
}

// AcceptFailed counts a failure. The loop calls it.
func (d *door) AcceptFailed(err error) { d.v.failed(err) }

// startOnLoop is start for a plain connection that a goroutine has accepted. It returns false if c
// cannot be on a loop.
func (v *serving) startOnLoop(c *conn) bool {
	socket := c.client.Bare()
	if socket == nil || v.loops == nil {
		return false
	}
	fd, err := loop.Detach(socket)
	if err != nil {
		return false // no descriptor is left for it: goroutines need no more
	}
	k := &link{v: v, start: c.start, id: c.id, from: c.from, to: c.to}
	_, k.client.TCP = socket.(*net.TCPConn)
	if a, ok := c.from.(*net.TCPAddr); ok {
		k.peer = a.AddrPort()
	}
	k.admit(fd, nil)
	return true
}

// links are the links of one loop. They belong to the loop's goroutine.
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

// eachLink lets f be called for each link, on its loop, and returns at once. f may end the link.
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

// describeLinks returns at most limit of the links.
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
