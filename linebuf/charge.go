package linebuf

// Charge counts n bytes that the caller holds outside of buffers against the budget. It neither
// waits nor fails, and exceeds the budget if it has to. A negative n takes bytes off again.
func (p *Pool) Charge(n int64) {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	p.useLocked(n)
	if n > 0 {
		p.memory.makeRoomLocked()
	} else {
		p.memory.grantLocked()
	}
}
