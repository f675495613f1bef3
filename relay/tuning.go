package relay

import "linesplit/relay/internal/traffic"

// Tuning holds the settings that may change while a Relay runs.
type Tuning = traffic.Tuning

// Tune replaces all the settings that may change. No connection ends for it but those that a shorter timeout, or ResetOnDown, finds too
// long silent, or at a target that is down. What goes on keeps what it began with: a dial its options and budget, a client in the queue
// its patience, a drain its end. A lower limit of connections or sessions refuses those who come from now on, and a new RatePerClient
// begins with what it allows at once.
func (r *Relay) Tune(t Tuning) {
	r.settings.Store(t)
	r.wakeServices()
}
