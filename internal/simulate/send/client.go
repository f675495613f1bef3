package send

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Time between attempts to reconnect.
const (
	initialRetry = 10 * time.Millisecond
	maxRetry     = time.Second
)

// client is one client. It belongs to one goroutine.
type client struct {
	run  *run
	kind Kind
	to   int // index in Options.To
	s    *sender
	left uint64 // lines still to send
	pace pace
}

func newClient(r *run, kind Kind, to int, s *sender) *client {
	c := &client{run: r, kind: kind, to: to, s: s, left: r.o.Lines}
	switch {
	case kind == FireAndForget:
		c.left = 1
	case c.left == 0:
		c.left = math.MaxUint64
	}
	return c
}

// workUntilDone does the client's work, over as many connections as that takes. Its error says
// why the work was not completed. The end of the run is no error.
func (c *client) workUntilDone(ctx context.Context) error {
	var last error
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(initialRetry),
		backoff.WithMaxInterval(maxRetry), backoff.WithMaxElapsedTime(0))
	for {
		before := c.s.sent
		done, err := c.attempt(ctx)
		switch {
		case errors.Is(err, errStopped):
			return last
		case err == nil || !c.run.o.Reconnect:
			return err
		}
		c.run.countLost(c.kind, err)
		if done {
			return nil
		}
		if c.s.sent > before {
			retry.Reset()
		}
		if last = err; !sleep(ctx, retry.NextBackOff()) {
			return err
		}
	}
}

// attempt connects and works until all is done or the connection fails. It returns done if
// nothing is left to do.
func (c *client) attempt(ctx context.Context) (done bool, err error) {
	l, err := c.run.connect(ctx, c.to)
	if err != nil && ctx.Err() != nil {
		return false, errStopped
	}
	if err != nil {
		return false, err
	}
	c.run.open.Add(1)
	defer c.run.open.Add(-1)
	stop := context.AfterFunc(ctx, func() { l.SetWriteDeadline(time.Now().Add(c.run.o.Grace)) })
	defer stop()

	c.pace = newPace(c.run.o.Rate, time.Now())
	err = c.work(ctx, l)
	return err == nil, c.disconnect(l, err)
}

// work returns nil when all is sent or the run is over. The connection is then between two lines,
// unless it failed.
func (c *client) work(ctx context.Context, l *link) error {
	switch c.kind {
	case Request:
		return c.request(ctx, l)
	case FireAndForget:
		return c.fireAndForget(ctx, l)
	case Idle:
		return c.idle(ctx, l)
	case Slow:
		return c.slow(ctx, l)
	}
	return c.stream(ctx, l)
}

// disconnect ends a connection. err says why it failed; nil means that its work is done.
func (c *client) disconnect(l *link, err error) error {
	switch {
	case err == nil && (c.kind == FireAndForget || c.writesOnly()):
		return l.Close()
	case err == nil:
		err = l.finish(c.run.o.Grace)
	case errors.Is(err, errClosed):
		l.awaitAcks(c.run.o.Grace)
	}
	c.run.inDoubt.Add(l.inDoubt(err))
	l.close(c.s.midLine())
	c.s.rewind()
	return err
}

// writesOnly reports whether the client never reads.
func (c *client) writesOnly() bool { return c.kind == Stream && c.run.o.WriteOnly }

func (c *client) stream(ctx context.Context, l *link) error {
	if !c.writesOnly() {
		l.watchPeer()
	}
	for c.left > 0 {
		n, err := c.awaitDue(ctx, l)
		if n == 0 || !c.s.fill(ctx, n) {
			return err
		}
		if err := c.send(l, c.s.next(n)); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) request(ctx context.Context, l *link) error {
	answers := bufio.NewReaderSize(l, 512)
	for c.left > 0 {
		n, err := c.awaitDue(ctx, l)
		if n == 0 || !c.s.fill(ctx, 1) {
			return err
		}
		asked := time.Now()
		if err := c.send(l, c.s.next(1)); err != nil {
			return err
		}
		l.SetReadDeadline(asked.Add(c.run.o.Timeout))
		if err := skipLine(answers); err != nil {
			return err
		}
		c.run.countAnswer(time.Since(asked))
	}
	return nil
}

// skipLine reads a line of any length. It translates errors into those of a client.
func skipLine(r *bufio.Reader) error {
	for {
		switch _, err := r.ReadSlice('\n'); {
		case err == nil:
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errNoAnswer
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errClosed
		default:
			return err
		}
	}
}

func (c *client) fireAndForget(ctx context.Context, l *link) error {
	if !c.s.fill(ctx, 1) {
		return nil
	}
	return c.send(l, c.s.next(1))
}

func (c *client) idle(ctx context.Context, l *link) error {
	l.watchPeer()
	select {
	case <-ctx.Done():
		return nil
	case <-l.closed:
		return l.closeErr
	}
}

func (c *client) slow(ctx context.Context, l *link) error {
	l.watchPeer()
	for c.left > 0 && ctx.Err() == nil && c.s.fill(ctx, 1) {
		if err := c.sendSlowly(ctx, l, c.s.next(1)); err != nil {
			return err
		}
	}
	return nil
}

// sendSlowly sends a line byte by byte. When the run is over it sends the rest at once, because
// half a line would not be a record.
func (c *client) sendSlowly(ctx context.Context, l *link, line []byte) error {
	for len(line) > 0 {
		n := 1
		select {
		case <-l.closed:
			return l.closeErr
		case <-ctx.Done():
			n = len(line)
		case <-time.After(c.run.o.Pause):
		}
		if err := c.send(l, line[:n]); err != nil {
			return err
		}
		line = line[n:]
	}
	return nil
}

// awaitDue waits until lines are due and returns how many. It returns 0 when the run is over, and
// 0 with an error when the peer has ended the connection.
func (c *client) awaitDue(ctx context.Context, l *link) (int, error) {
	for {
		n, wait := c.pace.due(time.Now())
		if n > 0 {
			wait = 0
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-l.closed:
			return 0, l.closeErr
		default:
		}
		if n > 0 {
			return int(min(uint64(n), c.left)), nil
		}
		select {
		case <-ctx.Done():
		case <-l.closed:
		case <-time.After(wait):
		}
	}
}

// send writes a part of the sender's batch and counts what the kernel has accepted.
func (c *client) send(l *link, part []byte) error {
	n, err := l.Write(part)
	lines, size := c.s.advance(n)
	l.history.add(n, lines)
	c.pace.done(lines)
	c.left -= uint64(lines)
	c.run.lines.Add(uint64(lines))
	c.run.bytes.Add(uint64(size))
	return err
}

// sleep returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
