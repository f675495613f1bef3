package simulate

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"linesplit/simulate/record"
)

const (
	beat      = 5 * time.Millisecond   // how often a sender writes what is due
	maxDebt   = 100 * time.Millisecond // what a sender that was held back catches up at most
	giveUp    = 10 * time.Second       // how long a sender that was told to stop waits for its last write
	dialLimit = 5 * time.Second
)

// sender writes records at a steady rate over one connection.
type sender struct {
	id   int // from 1 on
	rate int // lines per second
	gen  *record.Generator

	lines, bytes atomic.Uint64 // of whole lines that the kernel has taken
}

// run sends until ctx ends and then closes the connection. What it sent before an error stays counted.
func (s *sender) run(ctx context.Context, addr string) error {
	conn, err := net.DialTimeout("tcp", addr, dialLimit)
	if err != nil {
		return fmt.Errorf("sender %d: %w", s.id, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now().Add(giveUp)) })
	defer stop()

	if err := s.send(ctx, conn); err != nil {
		return fmt.Errorf("sender %d: %w", s.id, err)
	}
	return conn.Close()
}

func (s *sender) send(ctx context.Context, conn net.Conn) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var batch []byte
	paid := time.Now() // everything due until then has been sent
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			paid = later(paid, now.Add(-maxDebt))
			due := int(int64(now.Sub(paid)) * int64(s.rate) / int64(time.Second))
			if due <= 0 {
				continue
			}
			paid = paid.Add(time.Duration(int64(due) * int64(time.Second) / int64(s.rate)))
			batch = batch[:0]
			for range due {
				batch = s.gen.Append(batch, now)
			}
			if err := s.write(conn, batch); err != nil {
				return err
			}
		}
	}
}

func (s *sender) write(conn net.Conn, batch []byte) error {
	n, err := conn.Write(batch)
	whole := bytes.LastIndexByte(batch[:n], '\n') + 1
	s.lines.Add(uint64(bytes.Count(batch[:whole], []byte{'\n'})))
	s.bytes.Add(uint64(whole))
	return err
}

func (s *sender) sent() Count { return Count{s.lines.Load(), s.bytes.Load()} }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
