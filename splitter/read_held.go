package splitter

import "linesplit/internal/intake"

// readHeld reads a connection whose Read needs a buffer before there is anything to read: TLS, and
// connections without a descriptor. While the stream is quiet and carries nothing, this is the
// small one. A read that fills its room wakes the stream.
func (c *conn) readHeld() (int, error) {
	for c.in.Prepare() == intake.Starved {
		if _, err := c.makeRoom(); err != nil {
			return 0, err
		}
	}
	into := c.in.Room()
	if into == nil {
		into = c.small
	}
	n, err := c.nc.Read(into)
	if !c.in.Awake() && n == len(into) {
		c.in.Wake()
		c.lapsed = true // run then sets the deadline
	}
	if n > 0 && c.in.Room() == nil {
		c.in.Fill(into[:n])
	}
	return n, err
}
