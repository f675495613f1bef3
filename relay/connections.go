package relay

import (
	"cmp"
	"slices"

	"linesplit/internal/accept"
	"linesplit/relay/internal/traffic"
)

// Connection is a client that is there now, or a session of datagrams.
type Connection = traffic.Connection

// Connections returns those that there are now, at most limit, the oldest first. Where there are more, it is any of them. What it takes
// goes by the limit, not by how many there are, and nobody has to wait for it.
func (r *Relay) Connections(limit int) (all []Connection) {
	for _, v := range r.allServices() {
		all = append(all, v.Connections(max(0, limit-len(all)))...)
	}
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (v *serving) Connections(most int) (all []Connection) {
	for _, c := range v.some(most) {
		all = append(all, c.describe())
	}
	return all
}

func (v *serving) some(most int) (some []*conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for c := range v.conns {
		if len(some) >= most {
			break
		}
		some = append(some, c)
	}
	return some
}

func (c *conn) describe() Connection {
	d := Connection{ID: c.id, Client: c.from.String(), Listener: accept.Name(c.v.ln), Since: c.start}
	if c.carrying.Load() { // else the target and both directions are being set
		d.Target = c.backend.Target.String()
		d.BytesIn, d.BytesOut = c.pair.In.Moved(), c.pair.Out.Moved()
	}
	return d
}
