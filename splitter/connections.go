package splitter

import (
	"cmp"
	"slices"
	"time"

	"linesplit/internal/accept"
)

// Connection describes a sender that is connected now.
type Connection struct {
	ID             uint64 // unique among all connections of the Splitter, and rising
	Peer, Listener string
	Lines          uint64 // complete lines received, those dropped included
	Bytes          uint64 // bytes read, without the overhead of TLS, HTTP and RELP
	Since          time.Time
}

// Connections returns the senders that are connected now, the oldest first. If there are more than
// limit, it returns the newest of them. Its cost depends on the limit, not on the number of
// connections, and it holds up no connection.
func (s *Splitter) Connections(limit int) []Connection {
	limit = max(0, limit)
	conns, others := s.registry.newest(limit), s.registry.newestOthers(limit)
	all := make([]Connection, 0, len(conns)+len(others))
	for _, c := range conns {
		all = append(all, c.describe())
	}
	for _, x := range others {
		all = append(all, x.describe())
	}
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Compare(a.ID, b.ID) })
	return all[max(0, len(all)-limit):]
}

func (c *conn) describe() Connection {
	received := c.received.Load()
	return Connection{
		ID:       c.id,
		Peer:     c.nc.RemoteAddr().String(),
		Listener: accept.Name(c.v.ln),
		Lines:    received.Lines,
		Bytes:    received.Bytes,
		Since:    c.since,
	}
}
