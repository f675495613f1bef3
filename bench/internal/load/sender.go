//go:build linux

package load

import (
	"bufio"
	"crypto/tls"
	"net"
	"sync"
)

// sendRole connects and replies "connected". On "go" it writes its bytes at full speed, closes the
// connections and replies "sent".
func sendRole(o Options, in *bufio.Scanner, reply Reply) error {
	all, err := connect(o.To, o.conns, o.clientTLS())
	if err != nil {
		return err
	}
	reply("connected")
	in.Scan()
	if err := sendAll(all, o.bytes/int64(o.size), o.size); err != nil {
		return err
	}
	reply("sent")
	in.Scan()
	return nil
}

// connect opens n connections to the addresses in turn, through TLS unless config is nil.
func connect(to []string, n int, config *tls.Config) ([]net.Conn, error) {
	var all []net.Conn
	for i := range n {
		c, err := dialSender(to[i%len(to)], config)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// sendAll writes an equal share of the lines to each connection, all at the same time, and closes
// them.
func sendAll(conns []net.Conn, lines int64, size int) error {
	block := makeLines(blockLines(size), size)
	var wg sync.WaitGroup
	errs := make(chan error, len(conns))
	for i, c := range conns {
		share := lines / int64(len(conns))
		if int64(i) < lines%int64(len(conns)) {
			share++
		}
		wg.Go(func() { errs <- send(c, block, share*int64(size)) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func send(c net.Conn, block []byte, bytes int64) error {
	for bytes > 0 {
		n, err := c.Write(block[:min(int64(len(block)), bytes)])
		if err != nil {
			return err
		}
		bytes -= int64(n)
	}
	return c.Close()
}
