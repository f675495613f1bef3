//go:build linux

package load

import (
	"bufio"
	"fmt"
	"net"
)

// idleRole opens connections on "open N", writes a line on each of all on "write", and holds them.
func idleRole(o Options, in *bufio.Scanner, say func(string, ...any)) error {
	var conns []net.Conn
	text := compose(1, o.size)
	for in.Scan() {
		var n int
		if _, err := fmt.Sscanf(in.Text(), "open %d", &n); err == nil {
			more, err := connect(o.To, n, nil)
			if err != nil {
				return err
			}
			conns = append(conns, more...)
			say("opened")
			continue
		}
		for _, c := range conns {
			if _, err := c.Write(text); err != nil {
				return err
			}
		}
		say("wrote")
	}
	return nil
}
