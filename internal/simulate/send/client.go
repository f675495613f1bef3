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

// Between attempts to connect again.
const (
	firstRetry   = 10 * time.Millisecond
	longestRetry = time.Second
)

// client is one client. It belongs to one goroutine.
type client struct {
	run  *run
	kind Kind
	to   int // of the run's addresses
	s    *sender
	left uint64 // lines that it has still to send
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

// live does what the client is for, over as many connections as that takes. The error is why it did not come to its end; a run that ends
// in the meantime is none.
func (c *client) live(ctx context.Context) error {
	var last error
	retry := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstRetry), backoff.WithMaxInterval(longestRetry), backoff.WithMaxElapsedTime(0))
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

// attempt connects and works until all is done, or the connection fails. done says that there is nothing left to do.
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
	return err == nil, c.part(l, err)
}

// work returns nil when all is sent, or the run is over. At its end the connection is between two lines unless it failed.
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

// part ends a connection that failed with err, or with nil did all it was for.
func (c *client) part(l *link, err error) error {
	switch {
	case err == nil && c.kind == FireAndForget:
		return l.Close()
	case err == nil:
		err = l.finish(c.run.o.Grace)
	case errors.Is(err, errClosed):
		l.settle(c.run.o.Grace)
	}
	c.run.doubt.Add(l.inDoubt(err))
	l.close(c.s.midLine())
	c.s.rewind()
	return err
}

func (c *client) stream(ctx context.Context, l *link) error {
	l.watch()
	for c.left > 0 {
		n, err := c.turn(ctx, l)
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
		n, err := c.turn(ctx, l)
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

// skipLine reads a line of any length. The error says how that failed in a client's terms.
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
	l.watch()
	select {
	case <-ctx.Done():
		return nil
	case <-l.gone:
		return l.end
	}
}

func (c *client) slow(ctx context.Context, l *link) error {
	l.watch()
	for c.left > 0 && ctx.Err() == nil && c.s.fill(ctx, 1) {
		if err := c.dribble(ctx, l, c.s.next(1)); err != nil {
			return err
		}
	}
	return nil
}

// dribble sends a line a byte at a time, and what is left of it at once when the run is over: half a line would be no record.
func (c *client) dribble(ctx context.Context, l *link, line []byte) error {
	for len(line) > 0 {
		n := 1
		select {
		case <-l.gone:
			return l.end
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

// turn waits until lines are due and returns how many; 0 when the run is over, or with an error when the peer has ended the
// connection.
func (c *client) turn(ctx context.Context, l *link) (int, error) {
	for {
		n, wait := c.pace.due(time.Now())
		if n > 0 {
			wait = 0
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-l.gone:
			return 0, l.end
		default:
		}
		if n > 0 {
			return int(min(uint64(n), c.left)), nil
		}
		select {
		case <-ctx.Done():
		case <-l.gone:
		case <-time.After(wait):
		}
	}
}

// send writes a part of the sender's batch and counts what the kernel takes of it.
func (c *client) send(l *link, part []byte) error {
	n, err := l.Write(part)
	lines, size := c.s.took(n)
	l.marks.add(n, lines)
	c.pace.done(lines)
	c.left -= uint64(lines)
	c.run.lines.Add(uint64(lines))
	c.run.bytes.Add(uint64(size))
	return err
}

// sleep is false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
