package listen

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of 20,000 datagrams at a listener that was not read, 12,585 were gone, and nothing said so.
func TestKernelDropsAreCounted(t *testing.T) {
	const sent, size = 20_000, 1000
	open := map[string]func() (io.Closer, net.Addr, *datagramCounter, func(want int) int){
		"lines": func() (io.Closer, net.Addr, *datagramCounter, func(want int) int) {
			ln, err := Open(t.Context(), mustParse(t, "udp://127.0.0.1:0"), nil, nil)
			must(t, err)
			read := func(int) int { return bytes.Count(endOf(t, ln), []byte("\n")) }
			return ln, ln.Addr(), ln.(*udpListener).counter, read
		},
		"datagrams": func() (io.Closer, net.Addr, *datagramCounter, func(want int) int) {
			pc, err := OpenPacket(t.Context(), mustParse(t, "udp://127.0.0.1:0"), &Guard{})
			must(t, err)
			read := func(want int) int {
				n := datagramsIn(t, pc, want, size)
				must(t, pc.Close())
				return n
			}
			return pc, pc.LocalAddr(), pc.(*guardedPackets).counter, read
		},
	}
	for name, open := range open {
		listener, addr, counter, readAll := open()
		sendAndArrive(t, counter, addr.String(), sent, size)
		before, ok := Datagrams(listener)
		if !ok || before.Dropped == 0 || before.Asked != receiveBuffer || before.Granted == 0 {
			t.Errorf("%s: %+v, %v", name, before, ok)
		}
		read := readAll(sent - int(before.Dropped))
		after, _ := Datagrams(listener)
		if after != before || uint64(read)+after.Dropped != sent {
			t.Errorf("%s: %d read and %d dropped of %d (%d before they were read)", name, read, after.Dropped, sent, before.Dropped)
		}
	}
	if _, ok := Datagrams(openGuarded(t, "tcp://127.0.0.1:0", nil)); ok {
		t.Error("a TCP listener counts datagrams")
	}
}

// sendAndArrive sends datagrams and waits until they are in the counter's socket or dropped there.
// It does so for a few at a time: on a busy machine they wait for the kernel on their way, in a
// queue of a thousand packets, and what does not fit into that is counted nowhere.
func sendAndArrive(t *testing.T, counter *datagramCounter, to string, count, size int) {
	t.Helper()
	near, err := net.Dial("udp", to)
	must(t, err)
	defer near.Close()
	const few = 100
	var cost uint32 // what one of them takes of the socket's buffer
	for sent := 0; sent < count; {
		n := min(few, count-sent)
		if cost == 0 {
			n = 1
		}
		for range n {
			_, err := near.Write(make([]byte, size))
			must(t, err)
		}
		sent += n
		eventually(t, "the datagrams arrive", func() bool {
			if cost == 0 {
				cost = bufferUsed(t, counter.socket)
			}
			arrived := uint64(bufferUsed(t, counter.socket)/max(1, cost)) + counter.datagrams().Dropped
			return arrived >= uint64(sent)
		})
	}
}

// eventually polls for cond.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// bufferUsed returns how much of a socket's receive buffer is taken, as the kernel counts it
// (SK_MEMINFO_RMEM_ALLOC).
func bufferUsed(t *testing.T, socket *net.UDPConn) (used uint32) {
	t.Helper()
	must(t, onSocket(socket, func(fd int) error {
		var info [9]uint32
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if used = info[0]; errno != 0 {
			return errno
		}
		return nil
	}))
	return used
}

// datagramsIn reads the datagrams that are there, which should be want, and returns their number.
func datagramsIn(t *testing.T, pc net.PacketConn, want, size int) (n int) {
	t.Helper()
	b := make([]byte, size)
	must(t, pc.SetReadDeadline(time.Now().Add(30*time.Second)))
	for ; n < want; n++ {
		if _, _, err := pc.ReadFrom(b); err != nil {
			return n
		}
	}
	must(t, pc.SetReadDeadline(time.Now().Add(10*time.Millisecond))) // there are no more
	if _, _, err := pc.ReadFrom(b); err == nil {
		n++
	}
	return n
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
