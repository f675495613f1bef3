package delivery

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"linesplit/target"
)

// This file models targets and the network to them, for the simulation. It acts only when the
// simulation advances it.

// knowledge is the way in which a connection reports what its peer has read.
type knowledge int

const (
	estimated knowledge = iota // from the receive window, with errors as Progress.Hidden allows
	exact                      // the kernel tells
	unixLike                   // acknowledged means read
	numKnowledge
)

// The model hides unread bytes from the estimate for some time, which is less than what protects
// them: the least resend age of the simulation.
const (
	hiddenFor  = minResendAge - 250*time.Millisecond
	hiddenMost = 3000 // bytes that simTarget.little hides
)

// simTarget is a receiving process, its kernel, and the network to it.
type simTarget struct {
	name string
	*Backend

	rng       *rand.Rand
	knows     knowledge
	refuses   error         // of dials; nil: they succeed
	dialTime  time.Duration // until a dial succeeds or fails
	rate      int           // bytes that the process reads per millisecond; 0: it hangs
	blackHole bool          // nothing passes in either direction
	finFirst  bool          // half-closes each connection at its start, and reads on
	answers   bool          // it answers our FIN with its own
	errs      bool          // estimates hide unread bytes for a while
	little    bool          // they hide hiddenMost bytes at most
	drainedAt time.Time     // when it was last told to take no more lines
	mayBeDown bool          // a dial or a check has failed by its fault
	conns     []*simConn    // all that there ever were
}

// simConn is one connection, seen from both ends. It implements Conn.
type simConn struct {
	to      *simTarget
	since   time.Time
	sendBuf int // bytes that our kernel takes beyond the acknowledged ones
	recvBuf int // bytes that the peer's kernel takes beyond those that were read

	sent  []byte // what our kernel has taken
	acked int    // sent[:acked] has arrived
	read  int    // sent[:read] was read by the process
	known int    // what the kernel has told of read, proven by a later answer
	told  int    // the last answer

	arrivals  []arrival // acknowledged positions of the last moments
	stillFrom time.Time // when acked or read last changed
	risingTo  time.Time // the receive window seems to grow until then

	silentFrom time.Time // when the network went silent; zero: it answers
	fin        bool      // the peer's
	afterOurs  bool
	leaves     bool      // the process closes once it has seen our FIN
	exitsAt    time.Time // when a process that leaves ends, whatever it has seen
	wasStable  bool      // a look has said so
	dead       bool      // the process has ended
	ourFIN     bool
	finArrived bool // ours
	seemedRead bool // everything seemed read as we half-closed
	over       bool
	err        error
	closed     bool // by the machine
	event      bool // Check is due
}

type arrival struct {
	at  time.Time
	pos int
}

func (t *simTarget) accept(now time.Time) *simConn {
	c := &simConn{to: t, since: now, sendBuf: 200 + t.rng.IntN(4000), recvBuf: 200 << t.rng.IntN(11), stillFrom: now}
	if t.finFirst {
		c.fin, c.event = true, true
	}
	if t.blackHole {
		c.silentFrom = now
	}
	t.conns = append(t.conns, c)
	return c
}

// live yields the connections that the machine has not closed.
func (t *simTarget) live() (all []*simConn) {
	for _, c := range t.conns {
		if !c.closed {
			all = append(all, c)
		}
	}
	return all
}

// advance lets time d pass.
func (t *simTarget) advance(now time.Time, d time.Duration) {
	for _, c := range t.conns {
		if !c.closed && c.err == nil && !c.over {
			c.advance(now, int(d.Milliseconds())+1)
		}
	}
}

func (c *simConn) advance(now time.Time, ms int) {
	if c.to.blackHole {
		return
	}
	before := [2]int{c.acked, c.read}
	for range min(ms, 20) { // a window moves many times in a long step
		c.transfer(now, max(1, ms/20))
		c.process(max(1, ms/20))
	}
	c.endIfAnswered()
	if c.leaves && now.After(c.exitsAt) {
		c.kill()
	}
	if before != [2]int{c.acked, c.read} {
		c.stillFrom = now
	}
	for len(c.arrivals) > 1 && now.Sub(c.arrivals[1].at) > hiddenFor {
		c.arrivals = c.arrivals[1:]
	}
}

// transfer moves bytes to the peer's kernel, as far as it has room, and our FIN after them.
func (c *simConn) transfer(now time.Time, ms int) {
	if c.dead && len(c.sent) > c.acked { // data for a closed socket
		c.reset(syscall.ECONNRESET)
		return
	}
	room := c.recvBuf - (c.acked - c.read)
	n := min(len(c.sent)-c.acked, room, 1+c.to.rng.IntN(1+2000*ms))
	if n > 0 {
		c.acked += n
		c.arrivals = append(c.arrivals, arrival{now, c.acked})
	}
	if c.ourFIN && c.acked == len(c.sent) {
		c.finArrived = true
	}
}

// process lets the receiving process read.
func (c *simConn) process(ms int) {
	if !c.dead && c.to.rate > 0 {
		c.read += min(c.acked-c.read, c.to.rng.IntN(1+c.to.rate*ms))
	}
}

// endIfAnswered ends the connection in order once both sides have.
func (c *simConn) endIfAnswered() {
	if c.err != nil || !c.finArrived || !c.dead && c.read < c.acked {
		return
	}
	if !c.fin {
		if !c.to.answers || c.to.rate == 0 {
			return
		}
		c.fin, c.afterOurs = true, true
	}
	if c.dead || c.leaves || c.afterOurs {
		c.over, c.event = true, true
	}
}

// kill ends the process: its kernel resets connections with data unread, and sends a FIN over the
// others.
func (c *simConn) kill() {
	if c.closed || c.dead || c.over || c.err != nil {
		return
	}
	both := c.fin && c.finArrived
	c.dead = true
	switch {
	case both: // a reset goes unseen after both FINs
		// Once the peer has sent its FIN, ours goes as soon as everything seems read. What the
		// estimate hid then is lost with the process ("Both ends closed" in docs/delivery.md); the
		// model lets the process read it first.
		if c.seemedRead {
			c.read = c.acked
		}
		c.over, c.event = true, true
	case c.read < c.acked:
		c.reset(syscall.ECONNRESET)
	default:
		c.fin, c.event = true, true
	}
}

// exitAfter is how long a process that has announced its end waits for our FIN.
const exitAfter = 10 * time.Second

// announceEnd sends a FIN; the process reads on until it sees ours. The model leaves out a FIN that
// crosses ours on its way, which would pass for an answer, and one at the start of a connection,
// which makes the process a half-closer.
func (c *simConn) announceEnd(now time.Time) {
	if !c.closed && !c.dead && c.err == nil && !c.ourFIN && !c.fin && now.Sub(c.since) > halfCloserWithin {
		c.fin, c.leaves, c.event = true, true, true
		c.exitsAt = now.Add(exitAfter)
	}
}

func (c *simConn) reset(err error) {
	if c.err == nil && !c.over {
		c.err, c.event, c.dead = err, true, true
	}
}

// unreadSeen is the estimate of the unread bytes: never fewer than those that arrived more than
// hiddenFor ago.
func (c *simConn) unreadSeen(now time.Time) int {
	unread := c.acked - c.read
	if c.to.knows != estimated || !c.to.errs || len(c.arrivals) == 0 {
		return unread
	}
	old := 0
	for _, a := range c.arrivals {
		if now.Sub(a.at) > hiddenFor {
			old = a.pos
		}
	}
	certain := max(0, old-c.read)
	if c.to.little {
		certain = max(certain, unread-hiddenMost)
	}
	return certain + c.to.rng.IntN(1+unread-certain)
}

// Progress returns what the machine learns at a look.
func (c *simConn) Progress() target.Progress {
	now := time.Now()
	unread := c.unreadSeen(now)
	p := target.Progress{
		Written: uint64(len(c.sent)),
		Acked:   uint64(c.acked),
		Unread:  uint64(unread),
		FIN:     c.fin,
		Err:     c.err,
		Over:    c.over && c.err == nil,
	}
	still := now.Sub(c.stillFrom) > 2*time.Second
	switch c.to.knows {
	case estimated:
		p.Read = uint64(c.acked - min(c.acked, 2*unread+16))
		p.Hidden = math.MaxUint64
		if c.to.little {
			p.Hidden = hiddenMost
		}
		p.Rising = now.Before(c.risingTo)
		p.WindowStable = still
		p.WindowRecovered = still && c.read == c.acked
	case exact:
		c.look(&p)
	case unixLike:
		p.Acked, p.Read, p.Unread = uint64(c.read), uint64(c.read), uint64(len(c.sent)-c.read)
	}
	if !c.silentFrom.IsZero() {
		p.Silent = now.Sub(c.silentFrom)
	}
	p.AllRead = c.allRead()
	c.wasStable = c.wasStable || p.WindowStable
	return p
}

// look is the kernel's answer about a peer on the same host. It counts once the next one has come.
func (c *simConn) look(p *target.Progress) {
	if c.err == nil && !c.dead && !c.over {
		c.known, c.told = c.told, c.read
		p.Exact = true
		p.Unread = uint64(c.acked - c.known)
	}
	p.Known = uint64(c.known)
	p.Read = p.Known
}

func (c *simConn) allRead() bool {
	switch {
	case c.to.knows == unixLike:
		return true
	case c.err != nil || !c.fin || !c.ourFIN || c.acked < len(c.sent):
		return false
	}
	return c.afterOurs || c.over && c.seemedRead
}

// Write takes what has room.
func (c *simConn) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n := min(len(p), c.sendBuf-(len(c.sent)-c.acked))
	c.sent = append(c.sent, p[:n]...)
	return n, nil
}

// CloseWrite sends our FIN.
func (c *simConn) CloseWrite() error {
	p := c.Progress()
	c.seemedRead = p.SeemsRead() && p.Acked == p.Written
	c.ourFIN = true
	return nil
}

// Abort closes with a RST.
func (c *simConn) Abort() {
	c.reset(errors.New("aborted"))
	c.closed = true
}

// Close closes after the end, or with a RST.
func (c *simConn) Close() {
	if c.closed {
		panic("closed twice")
	}
	if !c.over && len(c.sent) > 0 && c.read < len(c.sent) {
		panic(fmt.Sprintf("%s: closed with %d of %d bytes read", c.to.name, c.read, len(c.sent)))
	}
	c.closed = true
}

// heal makes the target work.
func (t *simTarget) heal() {
	t.refuses, t.blackHole, t.answers, t.finFirst = nil, false, true, false
	t.dialTime, t.rate = time.Millisecond, 1000
	for _, c := range t.conns {
		c.silentFrom = time.Time{}
	}
}

func (t *simTarget) setBlackHole(now time.Time, on bool) {
	t.blackHole = on
	for _, c := range t.live() {
		c.silentFrom = time.Time{}
		if on {
			c.silentFrom = now
		}
	}
}

// events returns the connections that have an event to report, and forgets it.
func (t *simTarget) events() (all []*simConn) {
	for _, c := range t.conns {
		if c.event {
			c.event = false
			all = append(all, c)
		}
	}
	return slices.Clip(all)
}
