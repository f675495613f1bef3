package relay

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/accept"
	"linesplit/internal/loop"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// stage names what a link is doing.
type stage uint8

const (
	arriving   stage = iota // has not been on its loop yet
	away                    // a goroutine waits in the queue or dials, and will post the result
	pausing                 // between two rounds of dials; the timer runs
	connecting              // the target's socket is connecting; the timer limits that
	carrying                // bytes flow
	delivering              // broken: waits until the peers have acknowledged what was written
	settling                // ended, but a side may still send what the other refuses
	closed
)

// link is one plain client on an event loop, with its target once it has one. A conn is the same
// with goroutines. After admit, a link belongs to its loop's goroutine.
type link struct {
	v          *serving
	loop       *loop.Loop
	next, prev *link // in the list of the loop
	listed     bool  // in that list

	id       uint64
	start    time.Time
	peer     netip.AddrPort // remote address of the client; not valid for Unix clients
	from, to net.Addr       // addresses of the client's connection; nil: see clientAddr and localAddr
	addr     netip.Addr     // IP address of the client
	sni      string         // server name, where TLS is passed through

	stage   stage
	client  side
	target  side
	timer   loop.Timer
	gone    loop.Task // calls recycle
	search  search
	dials   int
	trying  *upstream.Backend // acquired, but not connected yet
	attempt upstream.Attempt  // to connect to trying
	backend *upstream.Backend // nil until there is a target

	streams           splice.Streams // set together with backend
	inEnded, outEnded bool           // these streams have ended
	first             traffic.End    // of the first stream that ended in an orderly way
	why               traffic.End    // of what broke the connection; NotEnded if nothing has
	ending            ending
	silence           silence
	sides             *sides // nil without timeouts of the sides

	deliveredIn, deliveredOut int64 // set by finish
}

// spareLinks holds links for further connections. Short connections would otherwise keep the
// garbage collector busy.
var spareLinks sync.Pool // of *link

// newLink returns a link whose other fields are zero.
func newLink(v *serving, start time.Time) *link {
	k, ok := spareLinks.Get().(*link)
	if !ok {
		k = &link{}
		k.timer.Do, k.gone.Do = k.timeUp, k.recycle
		k.client.link, k.target.link = k, k
	}
	k.v, k.start = v, start
	return k
}

// recycle gives back a link that has ended: its sockets are closed, its timer is stopped, and
// neither a list nor a goroutine holds it. Functions of the link that are still running may look at
// it, so on a loop this is a task of its own, which runs when they have returned.
func (k *link) recycle() {
	clear(k.search.tried)
	timeUp, recycle, tried := k.timer.Do, k.gone.Do, k.search.tried[:0]
	*k = link{}
	k.timer.Do, k.gone.Do, k.search.tried = timeUp, recycle, tried
	k.client.link, k.target.link = k, k
	spareLinks.Put(k)
}

// side is the socket of the client or the target. It is a handler of its own.
type side struct {
	splice.Socket
	link *link
}

// Ready handles events of the socket. The loop calls it.
func (s *side) Ready(_ *loop.Loop, ev loop.Events) {
	s.Note(ev)
	k := s.link
	switch k.stage {
	case arriving:
		k.arrive()
	case connecting:
		if s == &k.target {
			k.connected(ev)
		}
	case carrying, delivering, settling:
		k.advance()
	}
}

// admit counts a client and puts it on a loop, or resets it. on is the loop that has accepted it,
// nil if a goroutine has. It takes fd over. The link's addresses and client.TCP must be set.
func (k *link) admit(fd int, on *loop.Loop) {
	v := k.v
	if k.id == 0 {
		k.id = v.clients.NextID()
	}
	k.addr = k.peer.Addr().Unmap().WithZone("")
	if why := v.clients.Admit(k.addr); why != traffic.NotEnded {
		loop.Reset(fd)
		k.report(why)
		k.recycle()
		return
	}
	v.running.Add(1)
	if on != nil {
		k.loop = v.loops.Near(on)
	} else {
		k.loop = v.loops.Least(nil)
	}
	if err := k.loop.Adopt(&k.client.FD, fd, &k.client); err != nil {
		v.failed(err)
		loop.Reset(fd)
		v.clients.Dismiss(k.addr)
		v.running.Done()
	}
}

// arrive is the first call on the loop.
func (k *link) arrive() {
	k.v.links[k.loop.Index()].add(k)
	if k.v.cut.Err() != nil { // eachLink may have been called before the link was in the list
		k.giveUp(traffic.EndShutdown)
		return
	}
	k.choose()
}

// timeUp handles the end of the timer.
func (k *link) timeUp() {
	switch k.stage {
	case pausing:
		k.choose()
	case connecting:
		k.timedOut()
	case delivering:
		k.lookDelivered()
	case settling:
		k.lookSettled()
	}
}

// decide sets the reason for the connection's end. It returns false if it was set before.
func (k *link) decide(why traffic.End) bool {
	if k.why != traffic.NotEnded {
		return false
	}
	k.why = why
	k.v.clients.CountCut(why)
	return true
}

// abort ends the connection at once.
func (k *link) abort(why traffic.End) {
	k.decide(why)
	switch k.stage {
	case pausing, connecting:
		k.giveUp(k.why)
	case carrying, delivering, settling:
		k.finish()
	}
	// A link that is away ends when its goroutine posts. That is soon: without a target, a link is
	// aborted only at the hard end, which ends the goroutine's wait or dial, too.
}

// abortAt ends the connection if its target is b, which is out of use: that side ends at once, and
// the client still gets what the target has sent.
func (k *link) abortAt(b *upstream.Backend, why traffic.End) {
	if k.backend != b || !k.decide(why) {
		return
	}
	k.streams.In.Release()
	k.inEnded, k.outEnded = true, true
	k.deliver()
}

// giveUp ends a client that was not connected to a target.
func (k *link) giveUp(why traffic.End) {
	k.decide(why) // unless there is another reason already
	if k.trying != nil {
		k.v.backends.Release(k.trying)
		k.trying = nil
	}
	k.target.Reset()
	k.client.Reset()
	k.v.clients.CountRefusal(k.why)
	k.cleanUp(k.why)
}

// cleanUp releases what the link holds and records its end. The sockets have been closed.
func (k *link) cleanUp(why traffic.End) {
	k.loop.Stop(&k.timer)
	if k.backend != nil {
		k.v.backends.Release(k.backend)
	}
	k.v.clients.Dismiss(k.addr)
	k.report(why)
	k.leave()
}

// leave takes the link, whose sockets the loop no longer has, off the loop.
func (k *link) leave() {
	k.stage = closed
	if k.listed {
		k.v.links[k.loop.Index()].remove(k)
	}
	k.loop.PostTask(&k.gone)
	k.v.running.Done()
}

// report writes the record of the connection to the access log.
func (k *link) report(why traffic.End) {
	if !k.v.clients.Recording() {
		return
	}
	rec := k.v.record(k.clientAddr(), k.start, k.dials, why)
	rec.ServerName = k.sni
	if k.backend != nil {
		rec.Target = k.backend.Target.String()
		rec.BytesIn, rec.BytesOut = k.deliveredIn, k.deliveredOut
	}
	k.v.clients.Record(rec)
}

func (k *link) describe() Connection {
	d := Connection{
		ID: k.id, Client: k.clientAddr().String(), Listener: accept.Name(k.v.ln), Since: k.start,
	}
	if k.backend != nil {
		d.Target = k.backend.Target.String()
		d.BytesIn, d.BytesOut = k.streams.In.Moved(), k.streams.Out.Moved()
	}
	return d
}

// clientAddr returns the client's address.
func (k *link) clientAddr() net.Addr {
	if k.from != nil {
		return k.from
	}
	return named(k.peer)
}

// localAddr returns the address that the client has connected to.
func (k *link) localAddr() net.Addr {
	if k.to != nil {
		return k.to
	}
	return named(loop.LocalAddr(k.client.Int()))
}

// named returns a as package net does: with the name of its zone in place of the number.
func named(a netip.AddrPort) net.Addr {
	t := net.TCPAddrFromAddrPort(a)
	if index := 0; t.Zone != "" {
		if _, err := fmt.Sscan(t.Zone, &index); err == nil {
			if i, err := net.InterfaceByIndex(index); err == nil {
				t.Zone = i.Name
			}
		}
	}
	return t
}

// unixAddresses returns the addresses of a Unix connection as package net does.
func unixAddresses(fd int) (from, to net.Addr) {
	name := func(sa unix.Sockaddr, err error) net.Addr {
		a := &net.UnixAddr{Net: "unix"}
		if u, ok := sa.(*unix.SockaddrUnix); ok && err == nil {
			a.Name = u.Name
		}
		return a
	}
	return name(unix.Getpeername(fd)), name(unix.Getsockname(fd))
}
