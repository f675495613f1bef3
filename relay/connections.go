package relay

import (
	"cmp"
	"slices"
	"time"

	"linesplit/internal/accept"
)

// Connection is a client that is there now, or a session of datagrams.
type Connection struct {
	ID                uint64 // its own among all that the Relay has ever had; later ones have higher ones
	Client, Listener  string
	Target            string // empty while none is connected
	BytesIn, BytesOut int64  // as in Record
	Since             time.Time
}

// Connections returns those that there are now, at most limit, the oldest first. Where there are more, it is any of them. What it takes
// goes by the limit, not by how many there are, and nobody has to wait for it.
func (r *Relay) Connections(limit int) (all []Connection) {
	for _, v := range r.allServices() {
		all = append(all, v.connections(max(0, limit-len(all)))...)
	}
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (v *serving) connections(most int) (all []Connection) {
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
		d.Target = c.place.t.String()
		d.BytesIn, d.BytesOut = c.pair.In.Moved(), c.pair.Out.Moved()
	}
	return d
}

func (v *packetServing) connections(most int) (all []Connection) {
	for _, s := range v.some(most) {
		d := Connection{
			ID: s.id, Client: s.client.String(), Listener: v.name,
			BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), Since: s.start,
		}
		if s.place != nil {
			d.Target = s.place.t.String()
		}
		all = append(all, d)
	}
	return all
}

func (v *packetServing) some(most int) (some []*session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sessions {
		if len(some) >= most {
			break
		}
		if s.ready { // else its target is being set
			some = append(some, s)
		}
	}
	return some
}
