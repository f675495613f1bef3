package workerpool

// KeepRest hands the buffers that are left in the lanes and in the channel to Options.Keep. Run
// does so before it returns; a caller whose senders end after Run calls KeepRest again then.
func (p *Pool) KeepRest() {
	if p.o.Keep == nil {
		return
	}
	if p.routes != nil {
		for _, b := range p.routes.TakeAll() {
			p.shared.Leave(b)
		}
	}
	if b := p.unhanded.Swap(nil); b != nil {
		p.shared.Leave(b)
	}
	p.mu.Lock()
	lines := p.lines
	p.mu.Unlock()
	for {
		select {
		case b, ok := <-lines:
			if !ok {
				return
			}
			p.shared.Leave(b)
		default:
			return
		}
	}
}
