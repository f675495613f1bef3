package splice

import (
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/urgent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// rig is a Pair whose flows are carried until both ends have ended.
type rig struct {
	client, target    net.Conn // the far ends
	bytesIn, bytesOut atomic.Uint64
}

// carry starts a rig over sockets of a network.
func carry(t testing.TB, c *Carrier, network string) *rig {
	t.Helper()
	r := &rig{}
	var near [2]net.Conn
	r.client, near[0] = connected(t, network)
	r.target, near[1] = connected(t, network)
	client, target := NewSide(near[0]), NewSide(near[1])
	p := &Pair{}
	p.Init(c, &client, &target, &r.bytesIn, &r.bytesOut)
	var running sync.WaitGroup
	for _, f := range []*Flow{&p.In, &p.Out} {
		running.Go(func() {
			if err := f.Carry(); err != nil {
				t.Error(err)
			}
			f.CloseWrite()
		})
	}
	t.Cleanup(func() {
		r.client.Close()
		r.target.Close()
		running.Wait()
		client.Close()
		target.Close()
	})
	return r
}

// connected returns both ends of a connection.
func connected(t testing.TB, network string) (far, near net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = socketPath(t)
	}
	ln, err := net.Listen(network, address)
	must(t, err)
	defer ln.Close()
	far, err = net.Dial(network, ln.Addr().String())
	must(t, err)
	near, err = ln.Accept()
	must(t, err)
	rc, err := near.(syscall.Conn).SyscallConn()
	must(t, err)
	must(t, urgent.Inline(rc)) // as all sockets that a Relay gets
	return far, near
}

func socketPath(t testing.TB) string {
	if p := filepath.Join(t.TempDir(), "s"); len(p) < 100 {
		return p
	}
	return "@splice-" + strings.ReplaceAll(t.Name(), "/", "-")
}
