package linebuf

// Charge counts n bytes against the budget that are held for something other than buffers. It
// neither waits nor fails, and exceeds the budget if it has to. A negative n takes them off again.
func (p *Pool) Charge(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.useLocked(n)
	if n > 0 {
		p.makeRoomLocked()
	} else {
		p.grantLocked()
	}
}
