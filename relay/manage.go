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

// ParseBalance returns the balancer's name as Options.Balance takes it. The error says which there are.
func ParseBalance(name string) (string, error) { return upstream.ParseBalance(name) }

// Add gives t its share of the connections from the next client on. It comes behind the others in Stats. The error wraps
// target.ErrExists if there is a target of that name. One that is about to be removed is resumed instead, with t's weight and all else
// as it was: t is not used then, and may differ in nothing else.
func (r *Relay) Add(t *target.Target) error {
	if err := r.backends.Add(t); err != nil {
		return err
	}
	r.wakeServices()
	return nil
}

// Drain gives the target no more clients. The connections that it has go on until they end by themselves; then it is drained, and stays
// so until Resume. The last target may be drained, too: clients are refused then. The error wraps target.ErrUnknown.
func (r *Relay) Drain(name string) error { return r.backends.Drain(name) }

// Resume undoes Drain, and Remove where the target is not gone yet. The error wraps target.ErrUnknown.
func (r *Relay) Resume(name string) error { return r.backends.Resume(name) }

// Remove drains the target, and takes it out of the list once it has no connections any more. Those that have not ended within the
// given time are reset, and counted in Stats.Expelled; clients that it is being dialled for get another. To call it again sets another
// time, from now. What the target has had is part of Stats.Removed from then on.
//
// The error wraps target.ErrUnknown; or target.ErrLast where of its kind, for streams or for datagrams, no target would be left, or none
// that takes clients though this one did.
func (r *Relay) Remove(name string, within time.Duration) error {
	return r.backends.Remove(name, within)
}

// Change is several changes at once.
type Change = upstream.Change

// Reconfigure makes all of a change or, if there is an error, nothing of it. The error wraps target.ErrLast, or is ParseBalance's, or
// that of Add for a target that is about to be removed.
func (r *Relay) Reconfigure(c Change) error {
	if err := r.backends.Reconfigure(c); err != nil {
		return err
	}
	r.wakeServices()
	return nil
}

// SetWeight changes the target's share of the clients to come; weights are from 1 to 1,000,000. Connections stay where they are. The
// error wraps target.ErrUnknown, or says what would be right.
func (r *Relay) SetWeight(name string, weight int) error {
	return r.backends.SetWeight(name, weight)
}

// SetBalance changes how targets are chosen, from the next client on. The error is ParseBalance's.
func (r *Relay) SetBalance(name string) error { return r.backends.SetBalance(name) }

// Targets returns the targets that are there to stay, in the order of Stats.
func (r *Relay) Targets() []*target.Target { return r.backends.Targets() }

// Addresses are those of the targets that stay, with the weights that they have now.
func (r *Relay) Addresses() []target.Address { return r.backends.Addresses() }
