package accept

import (
	"fmt"
	"net"
)

// Name returns a listener's address for logs, in the form of a -listen value such as
// tcp://127.0.0.1:41234: the listener's String if it has one, else its network and address.
func Name(ln net.Listener) string {
	if s, ok := ln.(fmt.Stringer); ok {
		return s.String()
	}
	return ln.Addr().Network() + "://" + ln.Addr().String()
}
