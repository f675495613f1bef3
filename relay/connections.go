package relay

import (
	"cmp"
	"slices"

	"linesplit/internal/accept"
	"linesplit/relay/internal/traffic"
)

// Connection describes an open connection or UDP session.
type Connection = traffic.Connection

// Connections returns open connections, the oldest first. If there are more than limit, it returns
// any limit of them. Its cost depends on the limit, not on the number of connections, and it holds
// up no connection.
func (r *Relay) Connections(limit int) (all []Connection) {
	for _, v := range r.allServices() {
		all = append(all, v.Connections(max(0, limit-len(all)))...)
	}
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Connections returns at most limit of the open connections.
func (v *serving) Connections(limit int) (all []Connection) {
	for _, c := range v.some(limit) {
		all = append(all, c.describe())
	}
	return append(all, v.describeLinks(limit-len(all))...)
}

func (v *serving) some(limit int) (some []*conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		if len(some) >= limit {
			break
		}
		some = append(some, c)
	}
	return some
}

func (c *conn) describe() Connection {
	d := Connection{ID: c.id, Client: c.from.String(), Listener: accept.Name(c.v.ln), Since: c.start}
	if c.carrying.Load() { // otherwise the target and the flows are being set
		d.Target = c.backend.Target.String()
		d.BytesIn, d.BytesOut = c.pair.In.Moved(), c.pair.Out.Moved()
	}
	return d
}
