package acked

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"linesplit/internal/lumberjack"
	"linesplit/target"
)

// The limits of a window. Lines beyond them wait until the server has acknowledged it. Beats has
// windows of at most 2048 lines by default, too.
const (
	windowLines = 2048
	windowBytes = 1 << 20 // of lines; a longer line is a window of its own
)

// lumberjackSender sends lines in windows of Lumberjack v2, over one connection at a time. A server
// that ends a connection that is idle is no fault: Logstash does so after a minute. The next Send
// makes another one.
//
//	Send ──▶ goroutine that writes a window ──▶ server
//	  └───── reads acknowledgements ◀────────────┘      (between two Sends, idle reads)
//
// Acknowledgements are read while a window is written: a server may stop to read for a long time,
// and sends keepalives meanwhile.
type lumberjackSender struct {
	address  target.Address
	timeout  time.Duration // without an acknowledgement
	dial     dialFunc
	encoding encoding

	conn   net.Conn
	acks   *lumberjack.AckReader
	idle   chan error        // gets the result of watch; nil: it does not run
	window lumberjack.Window // the present or last one
	packed []byte            // the same with its data frames compressed
	acked  uint32            // lines of the window that are acknowledged
}

// newLumberjackSender returns a sender over conn, or over what dial returns in its place. It closes
// them.
func newLumberjackSender(a target.Address, conn net.Conn, dial dialFunc) *lumberjackSender {
	limits := a.Batching.WithDefaults()
	s := &lumberjackSender{address: a, timeout: limits.Timeout, dial: dial, encoding: newEncoding(limits.Compress)}
	s.use(conn)
	s.watch()
	return s
}

// Close implements Sender.
func (s *lumberjackSender) Close() {
	s.conn.Close()
	if s.idle != nil {
		<-s.idle
	}
}

// Send implements Sender. The protocol has no way to refuse lines.
func (s *lumberjackSender) Send(ctx context.Context, p Part) ([]Refused, error) {
	if err := s.resume(ctx); err != nil {
		return nil, &Partly{Err: err} // which names the target
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { interrupt(conn) })
	defer stop()
	done, sent := 0, 0 // lines of the windows before
	for lines := p.Bytes; len(lines) > 0; {
		var err error
		s.acked = 0
		if lines, err = s.fill(lines); err == nil {
			sent += int(s.window.Events())
			err = s.exchange(ctx)
		}
		if done += int(s.acked); err != nil {
			return nil, &Partly{done, sent, s.explain(ctx, err)}
		}
	}
	s.watch()
	return nil, nil
}

// fill puts the first lines into the window, and returns the others.
func (s *lumberjackSender) fill(lines []byte) (rest []byte, err error) {
	s.window.Reset()
	for rest = lines; len(rest) > 0 && s.window.Events() < windowLines; {
		n := bytes.IndexByte(rest, '\n')
		if n > lumberjack.MaxLine {
			return nil, fmt.Errorf("a line of %d bytes is longer than a frame of Lumberjack may be", n)
		}
		if s.window.Events() > 0 && len(lines)-len(rest)+n >= windowBytes {
			break
		}
		s.window.Add(rest[:n])
		rest = rest[n+1:]
	}
	return rest, nil
}

// exchange sends the window and returns once the server has acknowledged all of it.
func (s *lumberjackSender) exchange(ctx context.Context) error {
	frames, err := s.frames()
	if err != nil {
		return err
	}
	s.extend(ctx)
	written := make(chan error, 1)
	go func() {
		_, err := s.conn.Write(frames)
		if err != nil {
			interrupt(s.conn) // ends await
		}
		written <- err
	}()
	err = s.await(ctx)
	if err != nil {
		interrupt(s.conn) // ends the write
	}
	// One of the two may have failed because the other had.
	failed := <-written
	if failed != nil && (err == nil || isTimeout(err)) {
		return failed
	}
	return err
}

// frames returns the window as it is sent.
func (s *lumberjackSender) frames() ([]byte, error) {
	if s.encoding.name == "" {
		return s.window.Bytes(), nil
	}
	data, err := s.encoding.encode(s.window.Data())
	if err != nil {
		return nil, fmt.Errorf("compress a window: %w", err)
	}
	s.packed = lumberjack.AppendCompressed(s.packed[:0], s.window.Events(), data)
	return s.packed, nil
}

// await reads acknowledgements up to the last line of the window. Those of lines that are
// acknowledged already are keepalives.
func (s *lumberjackSender) await(ctx context.Context) error {
	all := s.window.Events()
	for s.acked < all {
		seq, err := s.acks.Next()
		switch {
		case err == io.EOF, err == io.ErrUnexpectedEOF:
			return fmt.Errorf("the server closed the connection with %d of %d lines acknowledged: %w", s.acked, all, err)
		case err != nil:
			return err
		case seq > all:
			return fmt.Errorf("the server acknowledges line %d of a window of %d", seq, all)
		}
		s.acked = max(s.acked, seq)
		s.extend(ctx)
	}
	return nil
}

// extend gives the server the time of a timeout from now on, unless ctx has ended.
func (s *lumberjackSender) extend(ctx context.Context) {
	s.conn.SetDeadline(time.Now().Add(s.timeout))
	if ctx.Err() != nil {
		interrupt(s.conn) // again
	}
}

// use makes conn the connection of s.
func (s *lumberjackSender) use(conn net.Conn) {
	s.conn, s.acks = conn, lumberjack.NewAckReader(conn)
}

// watch reads keepalives until the next Send, so that an acknowledgement that comes late is not
// taken for one of the next window. It closes the connection if the server ends it.
func (s *lumberjackSender) watch() {
	s.conn.SetDeadline(time.Time{})
	idle, conn, acks, last := make(chan error, 1), s.conn, s.acks, s.window.Events()
	s.idle = idle
	go func() {
		for {
			seq, err := acks.Next()
			if err == nil && seq > last {
				err = fmt.Errorf("the server acknowledges line %d of a window of %d", seq, last)
			}
			if err == nil {
				continue
			}
			if !isTimeout(err) {
				conn.Close()
			}
			idle <- err
			return
		}
	}()
}

// resume ends what watch has begun. If that has closed the connection, resume makes another one: no
// line was on its way.
func (s *lumberjackSender) resume(ctx context.Context) error {
	s.conn.SetReadDeadline(past)
	err := <-s.idle
	s.idle = nil
	if isTimeout(err) {
		return nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	s.use(conn)
	return nil
}

// explain returns an error that names the target.
func (s *lumberjackSender) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case isTimeout(err):
		err = fmt.Errorf("%w: timeout=%v", errTimeout, s.timeout)
	}
	return fmt.Errorf("send to %s: %w", s.address, err)
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// interrupt ends reads and writes of conn with a timeout.
func interrupt(conn net.Conn) { conn.SetDeadline(past) }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
