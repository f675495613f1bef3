package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/loop"
	"linesplit/relay/internal/splice"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
	"linesplit/target"
)

// choose acquires a backend and dials it.
func (k *link) choose() {
	b, w := k.v.backends.Streams.Acquire(k.addr, &k.search.tried)
	switch {
	case w != nil:
		k.queue(w)
	case b != nil:
		k.dial(b)
	default:
		k.goOn(false)
	}
}

// goOn goes on with the search, now or after a pause, or ends the client. failed reports whether a
// dial has failed; otherwise there was no backend left to try.
func (k *link) goOn(failed bool) {
	wait, why := k.search.next(k.v.Relay, failed)
	switch {
	case why != traffic.NotEnded:
		k.giveUp(why)
	case wait > 0:
		k.stage = pausing
		k.loop.Start(&k.timer, wait)
	default:
		k.choose()
	}
}

// queue waits in the queue, in a goroutine: all backends are full.
func (k *link) queue(w *upstream.Waiter) {
	k.stage = away
	go func() {
		begin := time.Now()
		b, why := k.v.backends.Streams.Wait(k.v.cut, w)
		waited := time.Since(begin)
		k.loop.Post(func() {
			k.search.queued(waited)
			if k.trying = b; b == nil || k.why != traffic.NotEnded {
				k.giveUp(why)
				return
			}
			k.dial(b)
		})
	}()
}

// dial begins to connect to b, which has been acquired.
func (k *link) dial(b *upstream.Backend) {
	k.trying = b
	if k.search.waited && k.client.WasReset() {
		k.giveUp(traffic.EndClientReset)
		return
	}
	k.search.begin(k.v.Relay)
	k.dials++
	share := k.search.share(k.v.Relay)
	k.attempt = k.v.backends.Attempt(b, share)
	err := k.connect(b.Target.Address)
	switch {
	case err == nil:
		k.stage = connecting
		k.loop.Start(&k.timer, k.attempt.Limit)
	case err == errElsewhere:
		k.dialElsewhere(b, share)
	default:
		k.attempt.Failed(target.DialError(b.Target.Address, err))
		k.dialFailed()
	}
}

// errElsewhere is the error for targets that a loop cannot connect to.
var errElsewhere = errors.New("a goroutine has to dial")

func (k *link) connect(a target.Address) error {
	to, literal := a.Literal()
	talks := literal && (k.client.Readable() || a.ProxyProtocol > 0)
	// Forget what events of a failed attempt have told.
	k.target.Socket = splice.Socket{TCP: literal, First: splice.First{Nagle: literal, Talks: talks}}
	if !literal && a.Scheme != target.SchemeUnix {
		return errElsewhere
	}
	if may := k.v.tuned().DialOptions.MayConnect; may != nil { // target.Dial asks it, too
		if err := may(a.Scheme, a.Host); err != nil {
			return err
		}
	}
	if literal {
		return k.loop.Connect(&k.target.FD, to, talks, &k.target)
	}
	err := k.loop.ConnectUnix(&k.target.FD, a.Host, &k.target)
	if isErrno(err, unix.EAGAIN) { // the backlog is full: target.Dial waits
		return errElsewhere
	}
	return err
}

func isErrno(err error, errno unix.Errno) bool {
	e, ok := err.(*os.SyscallError)
	return ok && e.Err == errno
}

// connected handles the end of the connect.
func (k *link) connected(ev loop.Events) {
	if ev&loop.Writable == 0 {
		return
	}
	k.loop.Stop(&k.timer)
	a := k.trying.Target.Address
	err := k.checkConnected(ev)
	if err == nil {
		err = k.writeHeader()
	}
	if err != nil {
		k.attempt.Failed(target.DialError(a, err))
		k.dialFailed()
		return
	}
	k.attempt.Succeeded()
	k.join()
}

// checkConnected returns the error of the connect. A socket whose target's port is among the
// kernel's local ports may have connected to itself, and nothing listens there; package net checks
// this, too.
func (k *link) checkConnected(ev loop.Events) error {
	if ev&(loop.Failed|loop.PeerEnded) != 0 {
		if err := k.target.ConnectError(); err != nil {
			return os.NewSyscallError("connect", err)
		}
	}
	if to, ok := k.trying.Target.Address.Literal(); ok && loop.LocalAddr(k.target.Int()) == to {
		return os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	return nil
}

// writeHeader writes the PROXY header, if the target expects one. It fits into an empty send
// buffer.
func (k *link) writeHeader() error {
	header := k.header(k.trying)
	if len(header) == 0 {
		return nil
	}
	n, err := k.target.Write(header)
	k.target.BeforeMore()
	if err == nil && n < len(header) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("PROXY protocol header: %w", err)
	}
	return nil
}

func (k *link) header(b *upstream.Backend) []byte {
	version := b.Target.Address.ProxyProtocol
	if version == 0 {
		return nil
	}
	return proxyHeader(version, k.clientAddr(), k.localAddr())
}

// timedOut handles a connect that has taken too long.
func (k *link) timedOut() {
	k.attempt.Failed(target.DialError(k.trying.Target.Address, os.ErrDeadlineExceeded))
	k.dialFailed()
}

// dialFailed gives the backend back and goes on with the search.
func (k *link) dialFailed() {
	k.target.Close()
	k.v.backends.Release(k.trying)
	k.search.tried.Add(k.trying)
	k.trying = nil
	k.goOn(true)
}

// dialElsewhere dials in a goroutine: names are looked up, TLS targets do their handshake, and a
// busy Unix target is waited for.
func (k *link) dialElsewhere(b *upstream.Backend, share time.Duration) {
	k.stage = away
	header := k.header(b)
	go func() {
		nc, err := k.v.backends.Dial(k.v.cut, b, header, share)
		k.loop.Post(func() { k.dialled(nc, err) })
	}()
}

// dialled handles the result of dialElsewhere.
func (k *link) dialled(nc net.Conn, err error) {
	switch {
	case k.why != traffic.NotEnded, k.v.cut.Err() != nil:
		if err == nil {
			s := splice.NewSide(nc)
			s.Reset()
		}
		k.giveUp(traffic.EndShutdown)
		return
	case err != nil:
		k.dialFailed()
		return
	case k.trying.Expelled(): // while it was being dialled
		nc.Close()
		k.dialFailed()
		return
	}
	s := splice.NewSide(nc)
	socket := s.Bare()
	if socket == nil {
		k.leaveWith(nc)
		return
	}
	if err := k.adoptTarget(socket); err != nil {
		nc.Close()
		k.attempt.Failed(target.DialError(k.trying.Target.Address, err))
		k.dialFailed()
		return
	}
	k.target.Note(loop.Writable)
	k.join()
}

// adoptTarget takes a dialled socket from package net to the loop.
func (k *link) adoptTarget(socket splice.Bare) error {
	fd, err := loop.Detach(socket)
	if err != nil {
		return err
	}
	_, tcp := socket.(*net.TCPConn)
	k.target.Socket = splice.Socket{TCP: tcp}
	if err = k.loop.Adopt(&k.target.FD, fd, &k.target); err != nil {
		loop.Close(fd)
	}
	return err
}

// join begins to carry bytes between the client and the target, which is connected.
func (k *link) join() {
	b := k.trying
	if b.Expelled() { // while it was being dialled
		k.dialFailed()
		return
	}
	k.backend, k.trying = b, nil
	k.stage = carrying
	k.streams.Init(k.v.carrier, &k.client.Socket, &k.target.Socket, &b.BytesIn, &b.BytesOut)
	if k.v.tuned().ResetOnDown && b.Target.Down() { // it went down before abortAt could find this link
		k.abort(traffic.EndTargetDown)
		return
	}
	k.advance()
}

// leaveWith makes the link a conn, which goroutines carry: nc, the dialled connection, speaks TLS.
func (k *link) leaveWith(nc net.Conn) {
	client, err := loop.Attach(k.client.Release())
	if err != nil {
		k.v.failed(err)
		nc.Close()
		k.giveUp(traffic.EndDialFailed)
		return
	}
	c := &conn{
		v: k.v, id: k.id, start: k.start, client: splice.NewSide(client),
		from: k.clientAddr(), to: k.to, addr: k.addr, sni: k.sni, dials: k.dials,
	}
	b := k.trying
	k.v.add(c)
	if c.join(b, nc) {
		c.startFlows()
	} else {
		k.v.backends.Release(b)
		c.giveUp(traffic.EndShutdown)
	}
	k.leave()
}
