package listen

import "net"

// namedConn is the connection of a client whose TLS is passed through, with the server name that it
// has asked for.
type namedConn struct {
	net.Conn
	name string
}

// ServerName returns the name as the client has written it: any bytes, up to the size of its first
// message.
func (c *namedConn) ServerName() string { return c.name }

// NetConn returns the connection without the name.
func (c *namedConn) NetConn() net.Conn { return c.Conn }

// SetLinger is as that of a [net.TCPConn].
func (c *namedConn) SetLinger(seconds int) error { return setLinger(c.Conn, seconds) }

// named returns conn with the server name if the service does not do the handshake, which would
// tell it.
func (l *Routed) named(conn net.Conn, name string) net.Conn {
	if l.secure != nil || name == "" {
		return conn
	}
	return &namedConn{conn, name}
}
