package sink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Shutdown ends the sink in an orderly way. It stops listening, sends FIN on each connection
// (after close_notify with TLS), reads to the peer's FIN, and closes. When ctx ends, it cuts off
// the remaining connections, and says so in its error.
func (s *Sink) Shutdown(ctx context.Context) error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.stopListening()
	for _, c := range s.connections() {
		s.running.Go(c.closeWrite)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	left := s.connections()
	s.endAll((*conn).close)
	<-done
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("sink %s: connections that did not end and were cut off: %d: %w", s.addr, len(left), ctx.Err())
}

// Exit ends the sink like a process that exits at once. It closes everything while data may be
// arriving, so that peers see FIN or RST. It does nothing if the sink has ended.
func (s *Sink) Exit() {
	s.stopListening()
	s.endAll((*conn).close)
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.stopListening()
	s.endAll((*conn).close)
	s.running.Wait()
	s.Resume()
}

// Leave ends the sink like a process that announces its end, reads on for a while, and exits with
// everything read. It stops listening, sends FIN on each connection (after close_notify with TLS),
// and closes the connections that the peer has not ended meanwhile. It returns how many these were,
// and how many bytes of them were unread, which is 0 unless the peer goes on writing.
func (s *Sink) Leave(after time.Duration) (open, unread int) {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.stopListening()
	for _, c := range s.connections() {
		s.running.Go(c.closeWrite)
	}
	time.Sleep(after)
	for _, c := range s.connections() {
		unread += unreadBytes(c.raw)
		c.close()
		open++
	}
	s.running.Wait()
	return open, unread
}

// Crash ends the sink like a process that stalls and is killed with data unread: it stops
// reading, waits for stall, and resets every connection. It returns how many bytes the kernel had
// acknowledged but the application had not read, or 0 where the system does not tell.
func (s *Sink) Crash(stall time.Duration) (unread int) {
	return s.stallAndEnd(stall, (*conn).reset)
}

// CloseUnread ends the sink like a process that stalls and then closes its connections with data
// unread. With TLS, the peer sees close_notify followed by RST. It returns what Crash returns.
func (s *Sink) CloseUnread(stall time.Duration) (unread int) {
	return s.stallAndEnd(stall, func(c *conn) {
		s.running.Go(func() {
			c.app.Close()
			c.close()
		})
	})
}

// stallAndEnd stops reading, waits, and ends the sink and each of its connections. It returns how
// many bytes were unread then.
func (s *Sink) stallAndEnd(stall time.Duration, end func(*conn)) (unread int) {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.Pause()
	time.Sleep(stall)
	s.stopListening()
	for _, c := range s.connections() {
		unread += unreadBytes(c.raw)
		end(c)
	}
	s.running.Wait()
	s.Resume()
	return unread
}

// Restart makes a sink that has ended listen again, on the same address. Otherwise it does
// nothing.
func (s *Sink) Restart() error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.Load().Refuse {
		if err := s.listenLocked(); err != nil {
			return err
		}
	}
	s.ended = false
	return nil
}

// ResetConnections resets every connection. The sink keeps listening.
func (s *Sink) ResetConnections() { s.endAll((*conn).reset) }

// Narrow lowers the receive buffers of all open connections to size bytes, as a kernel does that is
// short of memory: from then on the connections offer narrower windows.
func (s *Sink) Narrow(size int) error {
	var errs []error
	for _, c := range s.connections() {
		if err := setReceiveBuffer(c.raw, size); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Sink) endAll(end func(*conn)) {
	for _, c := range s.connections() {
		end(c)
	}
}

// connections returns all open connections.
func (s *Sink) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

func (s *Sink) stopListening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.closeLocked()
}
