package listen

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Of 20,000 datagrams at a listener that was not read, 12,585 were gone, and nothing said so.
func TestKernelDropsAreCounted(t *testing.T) {
	const sent, size = 20_000, 1000
	open := map[string]func() (io.Closer, net.Addr, func() int){
		"lines": func() (io.Closer, net.Addr, func() int) {
			ln, err := Open(t.Context(), mustParse(t, "udp://127.0.0.1:0"), nil, nil)
			must(t, err)
			return ln, ln.Addr(), func() int { return bytes.Count(endOf(t, ln), []byte("\n")) }
		},
		"datagrams": func() (io.Closer, net.Addr, func() int) {
			pc, err := OpenPacket(t.Context(), mustParse(t, "udp://127.0.0.1:0"), &Guard{})
			must(t, err)
			return pc, pc.LocalAddr(), func() (n int) {
				must(t, pc.SetReadDeadline(time.Now().Add(time.Second)))
				for b := make([]byte, size); ; n++ {
					if _, _, err := pc.ReadFrom(b); err != nil {
						must(t, pc.Close())
						return n
					}
				}
			}
		},
	}
	for name, open := range open {
		listener, addr, readAll := open()
		near, err := net.Dial("udp", addr.String())
		must(t, err)
		for range sent {
			_, err := near.Write(make([]byte, size))
			must(t, err)
		}
		near.Close()
		before, ok := Datagrams(listener)
		if !ok || before.Dropped == 0 || before.Asked != receiveBuffer || before.Granted == 0 {
			t.Errorf("%s: %+v, %v", name, before, ok)
		}
		read := readAll()
		after, _ := Datagrams(listener)
		if after != before || uint64(read)+after.Dropped != sent {
			t.Errorf("%s: %d read and %d dropped of %d (%d before they were read)", name, read, after.Dropped, sent, before.Dropped)
		}
	}
	if _, ok := Datagrams(openGuarded(t, "tcp://127.0.0.1:0", nil)); ok {
		t.Error("a TCP listener counts datagrams")
	}
}

// endOf closes a listener for lines and returns what its connection still has.
func endOf(t *testing.T, ln net.Listener) []byte {
	t.Helper()
	conn, err := ln.Accept()
	must(t, err)
	must(t, ln.Close())
	b, err := io.ReadAll(conn)
	must(t, err)
	must(t, conn.Close())
	return b
}

// The buffer's size can be read back.
func TestReceiveBufferIsGranted(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer pc.Close()
	socket := pc.(*net.UDPConn)
	must(t, setReceiveBuffer(socket, 64<<10))
	if got := receiveBufferOf(socket); got != 64<<10 {
		t.Errorf("%d bytes granted", got)
	}
	must(t, onSocket(socket, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10) }))
	if got := newDatagramCounter(socket, receiveBuffer).datagrams(); got.Granted != 8<<10 || got.Asked != receiveBuffer {
		t.Errorf("%+v", got)
	}
}
