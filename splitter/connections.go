package splitter

import (
	"slices"
	"time"

	"linesplit/internal/accept"
)

// Connection is a sender that is connected now.
type Connection struct {
	ID             uint64 // its own among all that the Splitter has ever had; later ones have higher ones
	Peer, Listener string
	Lines          uint64 // complete ones that it has brought, those dropped included
	Bytes          uint64 // that were read from it; through TLS, without TLS's own
	Since          time.Time
}

// Connections returns the senders that there are now, the oldest first; where there are more than limit, the youngest of them. What it
// takes goes by the limit, not by how many there are, and nobody has to wait for it.
func (s *Splitter) Connections(limit int) []Connection {
	conns := s.registry.youngest(limit)
	slices.Reverse(conns)
	all := make([]Connection, 0, len(conns))
	for _, c := range conns {
		all = append(all, c.describe())
	}
	return all
}

func (c *conn) describe() Connection {
	brought := c.brought.Load()
	return Connection{
		ID:       c.id,
		Peer:     c.nc.RemoteAddr().String(),
		Listener: accept.Name(c.v.ln),
		Lines:    brought.Lines,
		Bytes:    brought.Bytes,
		Since:    c.since,
	}
}
