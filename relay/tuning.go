package relay

import "linesplit/relay/internal/traffic"

// Tuning holds the settings that may change while a Relay runs.
type Tuning = traffic.Tuning

// Tune replaces all settings that may change. It ends no connections, except that a shorter timeout
// ends those that have been silent for longer, and ResetOnDown those whose target is down.
// Operations that have begun keep their settings: a dial its options and budget, a client in the
// queue its timeout, a drain its end. A lower limit of connections or sessions refuses only new
// ones. A new RatePerClient begins with a full burst.
func (r *Relay) Tune(t Tuning) {
	r.settings.Store(t)
	r.wakeServices()
}
