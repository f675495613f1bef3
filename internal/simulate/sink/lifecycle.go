package sink

import (
	"context"
	"fmt"
	"time"
)

// Shutdown is an orderly end: no new connections, FIN on those that there are (behind close_notify with TLS), read to the peer's FIN, close. What
// has not come to its end when ctx does is cut off, which the error says.
func (s *Sink) Shutdown(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	s.stopListening()
	for _, c := range s.all() {
		s.running.Go(c.finish)
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
	left := s.all()
	s.endAll((*conn).close)
	<-done
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("sink %s: %d connections cut off that did not end: %w", s.addr, len(left), ctx.Err())
}

// Exit is a process that is gone at once: everything is closed with traffic arriving, FIN or RST as it falls. A sink that has ended already has
// nothing more to end.
func (s *Sink) Exit() {
	s.stopListening()
	s.endAll((*conn).close)
	s.life.Lock()
	defer s.life.Unlock()
	s.stopListening()
	s.endAll((*conn).close)
	s.running.Wait()
	s.Resume()
}

// Crash is a process that stalls and is killed with data unread: it stops reading, and stall later every connection is reset. It returns how many
// bytes the kernel had acknowledged and nobody had read, where the system tells.
func (s *Sink) Crash(stall time.Duration) (unread int) {
	return s.stallAndEnd(stall, (*conn).reset)
}

// CloseUnread is a process that stalls and then closes in an orderly way with data unread. With TLS that is a close_notify with an RST behind it. It
// returns what Crash does.
func (s *Sink) CloseUnread(stall time.Duration) (unread int) {
	return s.stallAndEnd(stall, func(c *conn) {
		s.running.Go(func() {
			c.app.Close()
			c.close()
		})
	})
}

// stallAndEnd stops reading, waits, and ends the sink and each of its connections. It returns how many bytes were unread by then.
func (s *Sink) stallAndEnd(stall time.Duration, end func(*conn)) (unread int) {
	s.life.Lock()
	defer s.life.Unlock()
	s.Pause()
	time.Sleep(stall)
	s.stopListening()
	for _, c := range s.all() {
		unread += unreadBytes(c.raw)
		end(c)
	}
	s.running.Wait()
	s.Resume()
	return unread
}

// Restart makes a sink that has ended listen again, on the address that it had. It does nothing for one that has not.
func (s *Sink) Restart() error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mood.Load().Refuse {
		if err := s.listenLocked(); err != nil {
			return err
		}
	}
	s.ended = false
	return nil
}

// ResetConnections resets every connection, and goes on listening.
func (s *Sink) ResetConnections() { s.endAll((*conn).reset) }

func (s *Sink) endAll(end func(*conn)) {
	for _, c := range s.all() {
		end(c)
	}
}

// all returns the connections that there are.
func (s *Sink) all() []*conn {
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
