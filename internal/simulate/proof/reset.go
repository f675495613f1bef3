package proof

import "linesplit/internal/simulate/sink"

// resetAfterSend has the targets read nothing until the clients have reset their connections, so
// that all lines are on their way then. A proxy that passes a reset on at once loses them.
func resetAfterSend(s *stage) {
	s.each((*sink.Sink).Pause)
	n, lines := s.size(20, 4), 2000
	for range n {
		conn, ok := s.dial()
		if !ok {
			return
		}
		s.writeRecords(conn, lines, false)
		s.waitUntil("the proxy's kernel has all lines", func() bool { return unacknowledged(conn) == 0 })
		s.sleep(afterPause) // for the proxy to have read them, too
		conn.SetLinger(0)
		conn.Close()
	}
	s.startRecovery()
	s.sleep(afterPause) // for the proxy to notice
	held := uint64(n*lines) - s.linesRead()
	s.each((*sink.Sink).Resume)
	s.recordStaged(held > 0, "connections reset: %d, with %s lines on their way", n, comma(held))
}
