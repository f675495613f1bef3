//go:build linux

package testrig

import (
	"io"
	"net"
)

// What a client asks a server with the handler Named for, with the first byte that it sends.
const (
	WantEcho = 'e' // the server sends back what follows, at once
	WantEnd  = 'h' // the server ends its side, and reads to the end
)

// Named returns a handler that begins with a name of one byte, by which a client knows its server,
// and then does what the client asks for.
func Named(name byte) Handler {
	return func(conn net.Conn) {
		if _, err := conn.Write([]byte{name}); err != nil {
			return
		}
		want := make([]byte, 1)
		if _, err := io.ReadFull(conn, want); err != nil {
			return
		}
		switch want[0] {
		case WantEcho:
			Echo(conn)
		case WantEnd:
			CloseWrite(conn)
			Discard(conn)
		}
	}
}
