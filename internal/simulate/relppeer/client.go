// Package relppeer has the peers of a linesplit that speaks RELP: a client that sends numbered
// records until each has its response, and a server that counts them, and can be told to fail.
package relppeer

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"linesplit/internal/relp"
)

const (
	// window is how many lines a client sends ahead of their responses, as rsyslog's omrelp does.
	window = 128
	// maxData is the most bytes of a frame that a peer takes.
	maxData = 64 << 10
	// again is the pause between two sessions of a client.
	again = 10 * time.Millisecond
	// patience is how long a client waits for a connection, or to write.
	patience = 10 * time.Second
)

// Client sends lines in sessions, one after the other. What has no response when a session breaks
// is sent again in the next one, so that no line is lost by the client. Its methods are safe for
// concurrent use.
type Client struct {
	addr string
	done chan struct{} // closed when Run has returned

	mu       sync.Mutex // guards the fields below
	changed  *sync.Cond
	waiting  [][]byte // lines without a response, oldest first
	sent     int      // of them in this session
	broken   error    // why this session has ended; nil: it has not
	conn     net.Conn // of this session
	ended    bool     // no more lines are to come
	closed   bool
	answered uint64
	repeated uint64
}

// Start returns a client of the server at an address that has begun to connect. The caller calls
// End or Close.
func Start(addr string) *Client {
	c := &Client{addr: addr, done: make(chan struct{})}
	c.changed = sync.NewCond(&c.mu)
	go c.run()
	return c
}

// Add lets the client send lines, each without its newline. The client owns them.
func (c *Client) Add(lines ...[]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, lines...)
	c.changed.Broadcast()
}

// Answered returns how many lines have their response.
func (c *Client) Answered() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

// Waiting returns how many lines have none.
func (c *Client) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// Repeated returns how many lines were sent in more than one session, each time they were.
func (c *Client) Repeated() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repeated
}

// End waits until all lines have their response, and ends the client.
func (c *Client) End() {
	c.mu.Lock()
	c.ended = true
	c.changed.Broadcast()
	c.mu.Unlock()
	<-c.done
}

// Close ends the client at once.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	if c.conn != nil {
		c.conn.Close()
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	<-c.done
}

// run makes one session after the other.
func (c *Client) run() {
	defer close(c.done)
	for c.session() != nil && !c.isClosed() {
		time.Sleep(again)
	}
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// session sends lines until the session breaks, or all have their response and no more are to come:
// then it returns nil.
func (c *Client) session() error {
	conn, err := net.DialTimeout("tcp", c.addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.mu.Lock()
	c.conn, c.broken, c.sent = conn, nil, 0
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	var reading sync.WaitGroup
	reading.Go(func() { c.read(conn) })
	err = c.write(conn)
	conn.Close()
	reading.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.repeated += uint64(c.sent)
	c.conn = nil
	return err
}

// write writes the frames of a session.
func (c *Client) write(conn net.Conn) error {
	out := relp.Append(nil, 1, relp.Open, relp.Offer{Commands: []string{relp.Syslog}}.Append(nil))
	for next := uint32(2); ; {
		conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err := conn.Write(out); err != nil {
			return err
		}
		out = out[:0]
		lines, err := c.more()
		if len(lines) == 0 {
			return err
		}
		for _, line := range lines {
			out = relp.Append(out, next, relp.Syslog, line)
			next = relp.Next(next)
		}
	}
}

// more waits for lines that may be sent, and returns them; none if the session is over.
func (c *Client) more() ([][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch n := min(window, len(c.waiting)); {
		case c.closed:
			return nil, net.ErrClosed
		case c.broken != nil:
			return nil, c.broken
		case n > c.sent:
			lines := c.waiting[c.sent:n:n]
			c.sent = n
			return lines, nil
		case c.ended && len(c.waiting) == 0:
			return nil, nil
		}
		c.changed.Wait()
	}
}

// read reads the responses of a session: they come in the order of the frames.
func (c *Client) read(conn net.Conn) {
	in := relp.NewReader(bufio.NewReader(conn), maxData)
	for oldest := uint32(1); ; oldest = relp.Next(oldest) {
		err := readResponse(in, oldest)
		c.mu.Lock()
		switch {
		case err != nil:
			c.broken = err
		case oldest > 1:
			c.waiting[0] = nil
			c.waiting, c.sent = c.waiting[1:], c.sent-1
			c.answered++
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// readResponse reads the response to the frame with the number, which has to be 200.
func readResponse(in *relp.Reader, number uint32) error {
	f, err := in.Next()
	switch {
	case err != nil:
		return err
	case f.Command == relp.ServerClose:
		return errors.New("the server ends the session")
	case f.Command != relp.Respond || f.Number != number:
		return fmt.Errorf("%s %d in place of a response to %d", f.Command, f.Number, number)
	}
	response, err := relp.ParseResponse(f.Data)
	if err == nil && response.Status != relp.OK {
		err = fmt.Errorf("response %d to frame %d", response.Status, number)
	}
	return err
}
