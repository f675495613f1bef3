package udpdrops

import (
	"net"
	"testing"
)

func TestCount(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	socket := pc.(*net.UDPConn)
	if err := socket.SetReadBuffer(1); err != nil { // the least that there is
		t.Fatal(err)
	}
	if n, ok := Count(socket); n != 0 || !ok {
		t.Errorf("a new socket: %d, %v", n, ok)
	}
	conn, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const sent = 100
	for range sent {
		if _, err := conn.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if n, ok := Count(socket); n == 0 || n >= sent || !ok {
		t.Errorf("after %d datagrams: %d, %v", sent, n, ok)
	}
	socket.Close()
	if _, ok := Count(socket); ok {
		t.Error("a closed socket has a count")
	}
}
