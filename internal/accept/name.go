package accept

import (
	"fmt"
	"net"
)

// Name returns a listener's address for logs: where the listener knows that, in the form of a -listen value such as
// tcp://127.0.0.1:41234, else in that of its network.
func Name(ln net.Listener) string {
	if s, ok := ln.(fmt.Stringer); ok {
		return s.String()
	}
	return ln.Addr().Network() + "://" + ln.Addr().String()
}
