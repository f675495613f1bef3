package splice

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A read stops short of urgent data, which a loop took for an empty socket, and splice(2) stops
// there for good: what followed never arrived, and an end behind it passed for the end of the
// stream. The urgent byte itself is no part of the stream.
func TestUrgentDataHoldsUpNothing(t *testing.T) {
	for name, ends := range map[string]func(*Carrier) (from, to net.Conn){
		"on a loop":     func(c *Carrier) (from, to net.Conn) { r := carryOnLoop(t, c, "tcp"); return r.client, r.target },
		"in goroutines": func(c *Carrier) (from, to net.Conn) { r := carry(t, c, "tcp"); return r.client, r.target },
	} {
		for _, size := range []int{100, 2 * largeBuffer, 8 << 20} { // before the urgent byte, and behind it
			c := NewCarrier()
			from, to := ends(c)
			sent := make([]byte, 2*size)
			rand.Read(sent)
			var sending sync.WaitGroup
			sending.Go(func() {
				from.Write(sent[:size])
				sendUrgent(t, from)
				from.Write(sent[size:])
				from.(*net.TCPConn).CloseWrite()
			})
			got, err := io.ReadAll(to)
			sending.Wait()
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%s, %d bytes: %d came through, %v", name, len(sent), len(got), err)
			}
			to.Close()
			c.pipes.trim(true)
		}
	}
}

func sendUrgent(t testing.TB, nc net.Conn) {
	rc, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	rc.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), []byte{'!'}, unix.MSG_OOB, nil)
		return err != unix.EAGAIN
	})
	if err != nil {
		t.Error(err)
	}
}
