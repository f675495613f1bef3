package splice

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A read stops short of urgent data, which a loop took for an empty socket, and splice(2) stops
// there for good: what followed never arrived, and an end behind it passed for the end of the
// stream.
func TestUrgentDataHoldsUpNothing(t *testing.T) {
	type way func(c *Carrier, network string) (from, to net.Conn)
	for name, ends := range map[string]way{
		"on a loop":     func(c *Carrier, n string) (from, to net.Conn) { r := carryOnLoop(t, c, n); return r.client, r.target },
		"in goroutines": func(c *Carrier, n string) (from, to net.Conn) { r := carry(t, c, n); return r.client, r.target },
	} {
		for _, network := range []string{"tcp", "unix"} {
			for _, size := range []int{100, 2 * largeBuffer, 8 << 20} { // before the urgent byte, and behind it
				c := NewCarrier()
				from, to := ends(c, network)
				sent := make([]byte, 2*size+1)
				rand.Read(sent)
				var sending sync.WaitGroup
				sending.Go(func() {
					from.Write(sent[:size])
					sendUrgent(t, from, sent[size:][:1])
					from.Write(sent[size+1:])
					from.(interface{ CloseWrite() error }).CloseWrite()
				})
				got, err := io.ReadAll(to)
				sending.Wait()
				if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%s, %s, %d bytes: %d came through, %v", name, network, len(sent), len(got), err)
				}
				to.Close()
				c.pipes.trim(true)
			}
		}
	}
}

// sendUrgent does nothing but write b where Unix sockets have no urgent data, before Linux 5.15.
func sendUrgent(t testing.TB, nc net.Conn, b []byte) {
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	rc.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, unix.MSG_OOB, nil)
		return err != unix.EAGAIN
	})
	if err == unix.EOPNOTSUPP {
		_, err = nc.Write(b)
	}
	if err != nil {
		t.Error(err)
	}
}
