package accept

import (
	"fmt"
	"net"
)

// Name returns a listener's address as the configuration has it, where the listener knows that.
func Name(ln net.Listener) string {
	if s, ok := ln.(fmt.Stringer); ok {
		return s.String()
	}
	return ln.Addr().Network() + "://" + ln.Addr().String()
}
