//go:build linux

package testrig

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// PacketEcho is a UDP target that sends every datagram back to its sender.
type PacketEcho struct {
	conn    net.PacketConn
	packets atomic.Int64
	serving sync.WaitGroup

	mu    sync.Mutex
	peers map[string]struct{}
}

// NewPacketEcho listens on an address of its own until the test ends.
func NewPacketEcho(tb testing.TB) *PacketEcho {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("UDP target: %v", err)
	}
	conn.(*net.UDPConn).SetReadBuffer(4 << 20)
	e := &PacketEcho{conn: conn, peers: make(map[string]struct{})}
	e.serving.Go(e.serve)
	tb.Cleanup(func() {
		conn.Close()
		e.serving.Wait()
	})
	return e
}

func (e *PacketEcho) serve() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := e.conn.ReadFrom(buf)
		if err != nil {
			return // closed by the test's end
		}
		e.packets.Add(1)
		e.mu.Lock()
		e.peers[from.String()] = struct{}{}
		e.mu.Unlock()
		e.conn.WriteTo(buf[:n], from)
	}
}

// Target returns the address as the -target flag takes it.
func (e *PacketEcho) Target() string { return "udp://" + e.conn.LocalAddr().String() }

// Packets returns how many datagrams have arrived.
func (e *PacketEcho) Packets() int { return int(e.packets.Load()) }

// Peers returns from how many addresses they came.
func (e *PacketEcho) Peers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.peers)
}
