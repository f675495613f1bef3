//go:build linux

package contender

import (
	"bufio"
	"io"
	"net"
	"sync"

	"linesplit/bench/internal/load"
)

// Roles returns all roles that this program has as its own child, by name.
func Roles() map[string]load.Role {
	all := load.Roles()
	all["copy"] = copyRole
	return all
}

// copyRole is a proxy that only calls io.Copy in both directions. It shows what the simplest proxy
// in Go costs. The kernel moves the bytes (splice), as both sides are plain TCP connections. It
// serves until it is killed.
func copyRole(o load.Options, _ *bufio.Scanner, _ load.Reply) error {
	ln, err := load.Listen(o.Listen)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		client, err := ln.Accept()
		if err != nil {
			return err
		}
		go relay(client.(*net.TCPConn), o.To[n%len(o.To)])
	}
}

// relay connects a client to a target until both have closed.
func relay(client *net.TCPConn, to string) {
	defer client.Close()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	target := conn.(*net.TCPConn)
	defer target.Close()
	var wg sync.WaitGroup
	wg.Go(func() { copyHalf(target, client) })
	wg.Go(func() { copyHalf(client, target) })
	wg.Wait()
}

// copyHalf copies one direction and then half-closes it.
func copyHalf(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
