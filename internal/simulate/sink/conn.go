package sink

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/simulate/tally"
)

const (
	leastBuffer = 4 << 10  // bytes of a connection's first read; doubled as long as reads fill it
	mostBuffer  = 64 << 10 // bytes of a read at most, and of what goes to Output at once
	sip         = 1 << 10  // bytes of a read where lines are delayed, so that they come one by one rather than in heaps
	ratedReads  = 20       // in a second, where a read rate is given
	catchUp     = 50 * time.Millisecond
	maxDoom     = 4 << 10 // bytes behind which a connection is reset at the latest, if chaos wants that

	handshakeTimeout = 30 * time.Second
)

// Why a sink has ended a connection itself.
var (
	errIdle  = errors.New("idle for too long")
	errDoom  = errors.New("chaos")
	errReset = errors.New("reset with data unread")
)

// conn is one connection. The goroutine in serve owns it. The other methods only poke it, so that serve ends or looks at the mood.
type conn struct {
	s   *Sink
	raw net.Conn
	app net.Conn // raw, or TLS over it

	gone     chan struct{} // closed with the connection
	once     sync.Once
	finished atomic.Bool // FIN has been sent, or will be at once
	shaken   bool        // past its handshake, which no deadline may end; guarded by the sink's mu

	reader *tally.Reader // nil: lines are only counted
	lines  uint64        // that have come
	bytes  uint64        // likewise
	doom   int           // bytes until it is reset; 0: it is not
	buf    []byte
	out    []byte // for Output
	acks   []byte
	armed  *mood     // for which the read deadline is set
	quiet  time.Time // since when nothing came
	due    time.Time // when it may read again
}

func newConn(s *Sink, raw net.Conn) *conn {
	c := &conn{s: s, raw: raw, app: raw, gone: make(chan struct{}), quiet: time.Now()}
	if s.o.TLS != nil {
		c.app = tls.Server(raw, s.o.TLS)
	}
	return c
}

func (c *conn) serve() {
	defer c.s.remove(c)
	defer c.close()
	if !c.awake() {
		return
	}
	if err := c.handshake(); err != nil {
		c.s.count.handshakes.Add(1)
		return
	}
	if c.s.mood.Load().HalfClose {
		c.finish()
	}
	c.end(c.read())
}

// awake waits while the sink is silent. It is false when the connection was closed meanwhile.
func (c *conn) awake() bool {
	for m := c.s.mood.Load(); m.silent(); m = c.s.mood.Load() {
		select {
		case <-m.changed:
			c.quiet = time.Now()
		case <-c.gone:
			return false
		}
	}
	return true
}

// handshake is TLS's. From then on a deadline may interrupt reads.
func (c *conn) handshake() error {
	if secure, ok := c.app.(*tls.Conn); ok {
		c.raw.SetDeadline(time.Now().Add(handshakeTimeout))
		if err := secure.Handshake(); err != nil {
			return err
		}
		c.raw.SetDeadline(time.Time{})
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.shaken = true
	return nil
}

// read reads until the connection ends, and says why it did: io.EOF for a clean end by the peer.
func (c *conn) read() error {
	if c.s.o.Tally != nil {
		c.reader = c.s.o.Tally.Reader()
	}
	if c.s.o.Output != nil {
		c.reader.Line = c.output
	}
	for {
		if !c.awake() {
			return net.ErrClosed
		}
		m := c.s.mood.Load()
		err := c.step(m)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.lapsed(m)
		}
		if err != nil {
			return err
		}
	}
}

// fetch reads what there is. It reads nothing if m does not hold any more.
func (c *conn) fetch(room []byte, m *mood) (int, error) {
	m.reads.RLock()
	defer m.reads.RUnlock()
	if m.silent() || !c.arm(m) { // it may have become silent since serve was last awake
		return 0, nil
	}
	if m.ResetUnread && c.bytes > 0 {
		if err := waitUnread(c.raw); err != nil {
			return 0, err
		}
		return 0, errReset
	}
	return c.app.Read(room)
}

// arm sets the deadline of the next read, and is false if m does not hold any more. Whoever changes the mood sets a deadline in the past,
// with mu held, so that none of the two can miss the other.
func (c *conn) arm(m *mood) bool {
	if m == c.armed && m.IdleTimeout == 0 {
		return m == c.s.mood.Load()
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if m != c.s.mood.Load() {
		return false
	}
	deadline := time.Time{}
	if m.IdleTimeout > 0 {
		deadline = c.quiet.Add(m.IdleTimeout)
	}
	c.raw.SetReadDeadline(deadline)
	c.armed = m
	return true
}

// interruptLocked ends a read that waits, so that serve looks at the mood.
func (c *conn) interruptLocked() {
	if c.shaken {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// lapsed says why a deadline ended a read: nil for an interruption.
func (c *conn) lapsed(m *mood) error {
	if m.IdleTimeout > 0 && time.Since(c.quiet) >= m.IdleTimeout {
		return errIdle
	}
	return nil
}

// step reads once, and treats what came as m says.
func (c *conn) step(m *mood) error {
	room := c.room(m)
	n, err := c.fetch(room, m)
	lines := c.take(room[:n])
	if n > 0 {
		if err := c.treat(n, lines, m); err != nil {
			return err
		}
	}
	if err == io.EOF && c.doom > 0 {
		return errDoom
	}
	return err
}

// treat makes up for having read n bytes, among them the ends of some lines.
func (c *conn) treat(n int, lines uint64, m *mood) error {
	if n == len(c.buf) && n < mostBuffer {
		c.buf = make([]byte, 2*n)
	}
	if c.doom > 0 {
		if c.doom -= n; c.doom == 0 {
			return errDoom
		}
	}
	if m.Delay > 0 || m.ReadRate > 0 {
		c.pace(n, lines, m)
	}
	if m.Request {
		if err := c.acknowledge(lines); err != nil {
			return err
		}
	}
	c.quiet = time.Now()
	return nil
}

// room is what the next read may fill.
func (c *conn) room(m *mood) []byte {
	if c.buf == nil {
		c.buf = make([]byte, leastBuffer)
	}
	n := len(c.buf)
	if m.Delay > 0 || m.ResetUnread {
		n = sip
	}
	if m.ReadRate > 0 {
		n = int(min(int64(n), max(1, m.ReadRate/ratedReads)))
	}
	if c.doom > 0 {
		n = min(n, c.doom)
	}
	return c.buf[:n]
}

// take counts what the application has read, and returns how many lines ended in it.
func (c *conn) take(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	lines := uint64(bytes.Count(b, []byte{'\n'}))
	if c.reader != nil {
		c.reader.Feed(b)
	}
	c.flush()
	c.lines += lines
	c.bytes += uint64(len(b))
	c.s.count.lines.Add(lines)
	c.s.count.bytes.Add(uint64(len(b)))
	return lines
}

// pace waits for as long as m wants n bytes with so many lines to take.
func (c *conn) pace(n int, lines uint64, m *mood) {
	cost := time.Duration(lines) * m.Delay
	if m.ReadRate > 0 {
		cost += time.Duration(float64(n) / float64(m.ReadRate) * float64(time.Second))
	}
	now := time.Now()
	if earliest := now.Add(-catchUp); c.due.Before(earliest) {
		c.due = earliest
	}
	c.due = c.due.Add(cost)
	wait := time.NewTimer(c.due.Sub(now))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-c.gone:
	case <-m.changed:
		c.due = time.Time{}
	}
}

// acknowledge answers so many lines, the last that have come. Behind the sink's own FIN there is no answer.
func (c *conn) acknowledge(lines uint64) error {
	c.acks = c.acks[:0]
	for n := c.lines - lines + 1; n <= c.lines; n++ {
		c.acks = append(c.acks, "ok "...)
		c.acks = strconv.AppendUint(c.acks, n, 10)
		c.acks = append(c.acks, '\n')
	}
	if len(c.acks) == 0 || c.finished.Load() {
		return nil
	}
	if _, err := c.app.Write(c.acks); err != nil && !c.finished.Load() {
		return err
	}
	return nil
}

// output gathers lines for Output.
func (c *conn) output(line []byte) {
	c.out = append(c.out, line...)
	if len(c.out) >= mostBuffer {
		c.flush()
	}
}

func (c *conn) flush() {
	if len(c.out) == 0 {
		return
	}
	c.s.write(c.out)
	if c.out = c.out[:0]; cap(c.out) > 2*mostBuffer {
		c.out = nil
	}
}

// end closes the connection in the way that fits the reason why it ends, and counts it.
func (c *conn) end(why error) {
	if c.reader != nil {
		c.reader.End(errors.Is(why, io.EOF))
	}
	switch {
	case errors.Is(why, errDoom):
		c.s.count.dropped.Add(1)
		c.reset()
	case errors.Is(why, errReset):
		c.s.count.reset.Add(1)
		c.reset()
	case errors.Is(why, errIdle):
		c.s.count.idle.Add(1)
	case !errors.Is(why, io.EOF) && !errors.Is(why, net.ErrClosed):
		c.s.count.broken.Add(1)
	}
	c.app.Close()
}

// finish says that this side will send nothing more.
func (c *conn) finish() {
	c.finished.Store(true)
	if secure, ok := c.app.(*tls.Conn); ok {
		secure.CloseWrite()
	}
	c.raw.(interface{ CloseWrite() error }).CloseWrite()
}

// close and reset end the connection before anybody learns of it: whoever did might say goodbye first, with TLS.
func (c *conn) close() {
	c.raw.Close()
	c.once.Do(func() { close(c.gone) })
}

func (c *conn) reset() {
	resetConn(c.raw)
	c.once.Do(func() { close(c.gone) })
}
