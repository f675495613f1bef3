//go:build linux

package load

import (
	"bufio"
	"fmt"
	"net"
)

// idleRole opens N more connections on "open N", writes a line to every connection on "write", and
// keeps them open.
func idleRole(o Options, in *bufio.Scanner, reply Reply) error {
	var conns []net.Conn
	text := makeLines(1, o.size)
	for in.Scan() {
		var n int
		if _, err := fmt.Sscanf(in.Text(), "open %d", &n); err == nil {
			more, err := connect(o.To, n, nil)
			if err != nil {
				return err
			}
			conns = append(conns, more...)
			reply("opened")
			continue
		}
		for _, c := range conns {
			if _, err := c.Write(text); err != nil {
				return err
			}
		}
		reply("wrote")
	}
	return nil
}
