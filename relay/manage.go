package relay

import (
	"time"

	"linesplit/relay/internal/upstream"
	"linesplit/target"
)

// The names of the balancers.
const (
	RoundRobin       = upstream.RoundRobin
	LeastConnections = upstream.LeastConnections
	Random           = upstream.Random
	SourceHash       = upstream.SourceHash
	LeastBandwidth   = upstream.LeastBandwidth
)

// ParseBalance returns name if it is that of a balancer. Otherwise the error lists the names.
func ParseBalance(name string) (string, error) { return upstream.ParseBalance(name) }

// Add gives t its share of the connections from the next client on. It is the last one in Stats.
// The error wraps target.ErrExists if there is a target of that name. If that is being removed, Add
// resumes it with t's weight and does not use t, which may differ only in its weight.
func (r *Relay) Add(t *target.Target) error {
	if err := r.backends.Add(t); err != nil {
		return err
	}
	r.wakeServices()
	return nil
}

// Drain gives the target no more clients. Its connections go on until they end. Then it is drained,
// and stays so until Resume. The last target may be drained, too; then clients are refused. The
// error wraps target.ErrUnknown.
func (r *Relay) Drain(name string) error { return r.backends.Drain(name) }

// Resume undoes Drain, and Remove as long as the target is still listed. The error wraps
// target.ErrUnknown.
func (r *Relay) Resume(name string) error { return r.backends.Resume(name) }

// Remove drains the target and takes it out of the list once it has no connections. Those that have
// not ended within the given time are reset and counted in Stats.Expelled. Clients for which it is
// being dialled get another target. Another call sets a new time, counted from then. After the
// removal, the counts of the target are part of Stats.Removed.
//
// The error wraps target.ErrUnknown. It wraps target.ErrLast if no target of its kind, for streams
// or for datagrams, would be left, or none that takes clients although this one does.
func (r *Relay) Remove(name string, within time.Duration) error {
	return r.backends.Remove(name, within)
}

// Change is a set of changes that are made together. Targets that exist already are not added, and
// names that do not exist are ignored in Remove and Weights.
type Change = upstream.Change

// Reconfigure makes all changes of c or, if it returns an error, none. The error wraps
// target.ErrLast, or is that of ParseBalance, or that of Add for a target that is being removed.
func (r *Relay) Reconfigure(c Change) error {
	if err := r.backends.Reconfigure(c); err != nil {
		return err
	}
	r.wakeServices()
	return nil
}

// SetWeight changes the target's share of future clients. Weights are from 1 to 1,000,000. Open
// connections stay where they are. The error wraps target.ErrUnknown, or names the valid weights.
func (r *Relay) SetWeight(name string, weight int) error {
	return r.backends.SetWeight(name, weight)
}

// SetBalance changes the balancer from the next client on. The error is that of ParseBalance.
func (r *Relay) SetBalance(name string) error { return r.backends.SetBalance(name) }

// Targets returns the targets that are not being removed, in the order of Stats.
func (r *Relay) Targets() []*target.Target { return r.backends.Targets() }

// Addresses returns the addresses of the targets that are not being removed, with the weights in
// force.
func (r *Relay) Addresses() []target.Address { return r.backends.Addresses() }
