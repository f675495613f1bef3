package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// maxDatagram is the maximum length of a UDP datagram.
const maxDatagram = 65535

// packetRig is a relay that serves one UDP socket.
type packetRig struct {
	*Relay
	t          testing.TB
	at         string
	pc         net.PacketConn
	log        *records
	soft, hard context.CancelFunc
	ended      chan error
}

func startPackets(t testing.TB, at string, o Options, addresses ...string) *packetRig {
	t.Helper()
	for _, a := range addresses {
		o.Targets = append(o.Targets, newTarget(t, a))
	}
	pc, err := net.ListenPacket("udp", at)
	must(t, err)
	r := &packetRig{t: t, at: pc.LocalAddr().String(), pc: pc, log: &records{}, ended: make(chan error, 1)}
	o.AccessLog = r.log
	r.Relay = New(o)
	soft, endSoft := context.WithCancel(context.Background())
	hard, endHard := context.WithCancel(context.Background())
	r.soft, r.hard = endSoft, endHard
	go func() { r.ended <- r.ServePackets(soft, hard, pc) }()
	t.Cleanup(func() {
		endHard()
		r.wait()
		endSoft()
	})
	return r
}

// wait waits until ServePackets returns, and checks that all sessions have ended.
func (r *packetRig) wait() {
	r.t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Error(err)
		}
		r.ended <- nil
	case <-time.After(30 * time.Second):
		r.t.Fatal("ServePackets does not return")
	}
	s := r.Stats()
	if s.Active != 0 {
		r.t.Errorf("ended with %d active", s.Active)
	}
	for _, p := range s.Targets {
		if p.Active != 0 {
			r.t.Errorf("ended with %d at %s", p.Active, p.Name)
		}
	}
	if _, err := r.pc.WriteTo([]byte("x"), r.pc.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		r.t.Errorf("the socket is open: %v", err)
	}
}

func (r *packetRig) client() *net.UDPConn { return dialUDP(r.t, r.at) }

func dialUDP(t testing.TB, to string) *net.UDPConn {
	t.Helper()
	conn, err := net.Dial("udp", to)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

// packetEcho returns a target that echoes each datagram until the test ends.
func packetEcho(t testing.TB) (address string, socket *net.UDPConn) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	socket = pc.(*net.UDPConn)
	socket.SetReadBuffer(4 << 20)
	var running sync.WaitGroup
	running.Go(func() {
		b := make([]byte, maxDatagram)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			socket.WriteToUDPAddrPort(b[:n], from)
		}
	})
	t.Cleanup(func() { socket.Close(); running.Wait() })
	return "udp://" + socket.LocalAddr().String(), socket
}

// ask sends a datagram and returns the reply, or nil if there is none within the timeout.
func ask(t testing.TB, conn net.Conn, question []byte, timeout time.Duration) []byte {
	t.Helper()
	_, err := conn.Write(question)
	must(t, err)
	b := make([]byte, maxDatagram)
	must(t, conn.SetReadDeadline(time.Now().Add(timeout)))
	n, err := conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	must(t, err)
	return b[:n]
}

const replyTimeout = 20 * time.Second

func wantEcho(t testing.TB, conn net.Conn, question string) {
	t.Helper()
	if got := ask(t, conn, []byte(question), replyTimeout); got == nil || string(got) != question {
		t.Fatalf("asked %.20q, got %.20q", question, got)
	}
}

func compare(conn net.Conn, question []byte) error {
	if _, err := conn.Write(question); err != nil {
		return err
	}
	b := make([]byte, maxDatagram)
	conn.SetReadDeadline(time.Now().Add(replyTimeout))
	n, err := conn.Read(b)
	if err == nil && !bytes.Equal(b[:n], question) {
		err = fmt.Errorf("sent %d bytes, got %d different ones", len(question), n)
	}
	return err
}

func descriptors(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(entries)
}
