//go:build linux

package contender

import (
	"bufio"
	"io"
	"net"
	"sync"

	"linesplit/bench/internal/load"
)

// Roles returns by name what this program may be told to do as its own child.
func Roles() map[string]load.Role {
	all := load.Roles()
	all["copy"] = copyRole
	return all
}

// copyRole is a proxy that does nothing but io.Copy in both directions: what the least that one can write in Go costs. The kernel
// moves the bytes (splice), for neither side is more than a TCP connection. It serves until it is killed.
func copyRole(o load.Options, _ *bufio.Scanner, _ func(string, ...any)) error {
	ln, err := load.Listen(o.Listen)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		client, err := ln.Accept()
		if err != nil {
			return err
		}
		go join(client.(*net.TCPConn), o.To[n%len(o.To)])
	}
}

// join connects a client to a target until both have said all.
func join(client *net.TCPConn, to string) {
	defer client.Close()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	target := conn.(*net.TCPConn)
	defer target.Close()
	var wg sync.WaitGroup
	wg.Go(func() { pass(target, client) })
	wg.Go(func() { pass(client, target) })
	wg.Wait()
}

// pass moves all that one side says, and its end.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
