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
	initialBuffer  = 4 << 10  // bytes of a connection's first read; doubled while reads fill it
	maxBuffer      = 64 << 10 // limit of bytes per read, and per write to Output
	delayedRead    = 1 << 10  // bytes per read with a delay, so that lines come one by one
	readsPerSecond = 20       // with a read rate
	maxCatchUp     = 50 * time.Millisecond
	maxResetAfter  = 4 << 10 // limit of bytes after which chaos resets a connection mid-stream

	handshakeTimeout = 30 * time.Second
)

// Reasons for which a sink ends a connection.
var (
	errIdle  = errors.New("idle for too long")
	errChaos = errors.New("chaos")
	errReset = errors.New("reset with data unread")
)

// conn is one connection. The goroutine in serve owns it. The other methods only interrupt that
// goroutine, so that it ends or applies a new state.
type conn struct {
	s   *Sink
	raw net.Conn
	app net.Conn // raw, or TLS over it

	closed     chan struct{} // closed when the connection is closed
	once       sync.Once
	finished   atomic.Bool // FIN has been sent, or is about to be
	handshaken bool        // the TLS handshake, which no deadline may interrupt, is over; guarded by the sink's mu

	reader     *tally.Reader // nil: lines are only counted
	lines      uint64        // read so far
	bytes      uint64        // read so far
	resetAfter int           // bytes until a reset by chaos; 0: none
	filled     bool          // the last read filled its buffer, so that there may be more
	buf        []byte
	out        []byte // lines for Output
	acks       []byte
	armedFor   *state    // state that the read deadline is set for
	lastData   time.Time // time of the last data
	nextRead   time.Time // earliest time of the next read
}

func newConn(s *Sink, raw net.Conn) *conn {
	c := &conn{s: s, raw: raw, app: raw, closed: make(chan struct{}), lastData: time.Now()}
	if s.o.TLS != nil {
		c.app = tls.Server(raw, s.o.TLS)
	}
	return c
}

func (c *conn) serve() {
	defer c.s.remove(c)
	defer c.close()
	if !c.awaitActive() {
		return
	}
	if err := c.handshake(); err != nil {
		c.s.count.handshakes.Add(1)
		return
	}
	if c.s.state.Load().HalfClose {
		c.closeWrite()
	}
	c.end(c.read())
}

// awaitActive waits while the sink is inactive. It returns false if the connection is closed
// meanwhile.
func (c *conn) awaitActive() bool {
	for st := c.s.state.Load(); st.inactive(); st = c.s.state.Load() {
		select {
		case <-st.changed:
			c.lastData = time.Now()
		case <-c.closed:
			return false
		}
	}
	return true
}

// handshake completes the TLS handshake. From then on a deadline may interrupt reads.
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
	c.handshaken = true
	return nil
}

// read reads until the connection ends, and returns the reason: io.EOF for a clean end by the
// peer.
func (c *conn) read() error {
	if c.s.o.Tally != nil {
		c.reader = c.s.o.Tally.Reader()
	}
	if c.s.o.Output != nil {
		c.reader.Line = c.addOutput
	}
	for {
		if !c.awaitActive() || !c.awaitInterval() {
			return net.ErrClosed
		}
		st := c.s.state.Load()
		err := c.readOnce(st)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = c.deadlineCause(st)
		}
		if err != nil {
			return err
		}
	}
}

// awaitInterval makes the pause before the next read, if there is to be one. It returns false if
// the connection is closed meanwhile.
func (c *conn) awaitInterval() bool {
	st := c.s.state.Load()
	if st.Interval == 0 || st.Chunk == 0 && c.filled {
		return true
	}
	c.wait(st.Interval, st)
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}

// wait waits for d. It returns false if the connection is closed or st is replaced before.
func (c *conn) wait(d time.Duration, st *state) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closed:
	case <-st.changed:
	}
	return false
}

// fetch reads the available bytes. It reads nothing if st has been replaced.
func (c *conn) fetch(room []byte, st *state) (int, error) {
	st.reads.RLock()
	defer st.reads.RUnlock()
	if st.inactive() || !c.armDeadline(st) { // st may have become inactive since awaitActive
		return 0, nil
	}
	if st.ResetUnread && c.bytes > 0 {
		if err := waitUnread(c.raw); err != nil {
			return 0, err
		}
		return 0, errReset
	}
	return c.app.Read(room)
}

// armDeadline sets the deadline of the next read. It returns false if st has been replaced.
// Replacing the state sets a deadline in the past, with mu held, so neither can overwrite the
// other unnoticed.
func (c *conn) armDeadline(st *state) bool {
	if st == c.armedFor && st.IdleTimeout == 0 {
		return st == c.s.state.Load()
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if st != c.s.state.Load() {
		return false
	}
	deadline := time.Time{}
	if st.IdleTimeout > 0 {
		deadline = c.lastData.Add(st.IdleTimeout)
	}
	c.raw.SetReadDeadline(deadline)
	c.armedFor = st
	return true
}

// interruptLocked interrupts a blocked read, so that serve applies the new state.
func (c *conn) interruptLocked() {
	if c.handshaken {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// deadlineCause returns why a deadline ended a read: nil for an interruption.
func (c *conn) deadlineCause(st *state) error {
	if st.IdleTimeout > 0 && time.Since(c.lastData) >= st.IdleTimeout {
		return errIdle
	}
	return nil
}

// readOnce reads once, and applies st to what was read.
func (c *conn) readOnce(st *state) error {
	room := c.readBuffer(st)
	n, err := c.fetch(room, st)
	c.filled = n == len(room)
	lines := c.countRead(room[:n])
	if n > 0 {
		if err := c.afterRead(n, lines, st); err != nil {
			return err
		}
	}
	if err == io.EOF && c.resetAfter > 0 {
		return errChaos
	}
	return err
}

// afterRead applies st after n bytes were read, in which some lines ended.
func (c *conn) afterRead(n int, lines uint64, st *state) error {
	if n == len(c.buf) && n < maxBuffer {
		c.buf = make([]byte, 2*n)
	}
	if c.resetAfter > 0 {
		if c.resetAfter -= n; c.resetAfter == 0 {
			return errChaos
		}
	}
	if st.Delay > 0 || st.ReadRate > 0 {
		c.pace(n, lines, st)
	}
	if st.Request {
		if err := c.acknowledge(lines); err != nil {
			return err
		}
	}
	c.lastData = time.Now()
	return nil
}

// readBuffer returns the buffer for the next read.
func (c *conn) readBuffer(st *state) []byte {
	if c.buf == nil {
		c.buf = make([]byte, initialBuffer)
	}
	n := len(c.buf)
	if st.Delay > 0 || st.ResetUnread {
		n = delayedRead
	}
	if st.ReadRate > 0 {
		n = int(min(int64(n), max(1, st.ReadRate/readsPerSecond)))
	}
	if st.Chunk > 0 {
		n = min(n, st.Chunk)
	}
	if c.resetAfter > 0 {
		n = min(n, c.resetAfter)
	}
	return c.buf[:n]
}

// countRead counts what the application has read, and returns how many lines ended in it.
func (c *conn) countRead(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	lines := uint64(bytes.Count(b, []byte{'\n'}))
	if c.reader != nil {
		c.reader.Feed(b)
	}
	c.flushOutput()
	c.lines += lines
	c.bytes += uint64(len(b))
	c.s.count.lines.Add(lines)
	c.s.count.bytes.Add(uint64(len(b)))
	return lines
}

// pace waits for the time that n bytes with so many lines take according to st.
func (c *conn) pace(n int, lines uint64, st *state) {
	cost := time.Duration(lines) * st.Delay
	if st.ReadRate > 0 {
		cost += time.Duration(float64(n) / float64(st.ReadRate) * float64(time.Second))
	}
	now := time.Now()
	if earliest := now.Add(-maxCatchUp); c.nextRead.Before(earliest) {
		c.nextRead = earliest
	}
	c.nextRead = c.nextRead.Add(cost)
	if !c.wait(c.nextRead.Sub(now), st) {
		c.nextRead = time.Time{}
	}
}

// acknowledge answers the last lines that were read. After the sink's own FIN it sends no
// answers.
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

// addOutput collects lines for Output.
func (c *conn) addOutput(line []byte) {
	c.out = append(c.out, line...)
	if len(c.out) >= maxBuffer {
		c.flushOutput()
	}
}

func (c *conn) flushOutput() {
	if len(c.out) == 0 {
		return
	}
	c.s.write(c.out)
	if c.out = c.out[:0]; cap(c.out) > 2*maxBuffer {
		c.out = nil
	}
}

// end closes the connection in the way that fits the reason, and counts it.
func (c *conn) end(why error) {
	if c.reader != nil {
		c.reader.End(errors.Is(why, io.EOF))
	}
	switch {
	case errors.Is(why, errChaos):
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

// closeWrite ends this side of the connection with a FIN.
func (c *conn) closeWrite() {
	c.finished.Store(true)
	if secure, ok := c.app.(*tls.Conn); ok {
		secure.CloseWrite()
	}
	c.raw.(interface{ CloseWrite() error }).CloseWrite()
}

// close and reset close the socket before they close the channel: a goroutine that waits for the
// channel could otherwise still send TLS's close_notify.
func (c *conn) close() {
	c.raw.Close()
	c.once.Do(func() { close(c.closed) })
}

func (c *conn) reset() {
	resetConn(c.raw)
	c.once.Do(func() { close(c.closed) })
}
