package listen

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/accept"
)

// A listener takes over from another while clients keep connecting: none is refused or reset.
func TestPortTakeoverLosesNoClient(t *testing.T) {
	s := mustParse(t, "tcp://127.0.0.1:0").ReusePort()
	first, err := Open(t.Context(), s, nil, nil)
	must(t, err)
	addr := first.Addr().String()
	if _, err := Open(t.Context(), mustParse(t, "tcp://"+addr), nil, nil); err == nil {
		t.Fatal("a second listener opened the port without ReusePort")
	}

	c := connectForever(t, addr)
	var by [4]atomic.Int64
	stop := answerUntilStopped(t, first, &by[0])
	c.more(100)
	for i := 1; i < len(by); i++ {
		next, err := Open(t.Context(), mustParse(t, "tcp://"+addr).ReusePort(), nil, nil)
		must(t, err)
		stopNext := answerUntilStopped(t, next, &by[i])
		c.more(100)
		must(t, first.(interface{ StepAside() error }).StepAside())
		// Connections on their way arrive, and then no more come, though clients keep connecting.
		before := by[i].Load()
		for quiet := int64(0); quiet < 100; quiet = by[i].Load() - before {
			had := by[i-1].Load()
			c.more(50)
			if by[i-1].Load() != had {
				before = by[i].Load()
			}
		}
		stop() // what waits in the backlog is still served
		first, stop = next, stopNext
		c.more(100)
	}
	c.stop()
	stop()
}

// answerUntilStopped serves ln as linesplit does. stop empties the backlog and closes ln.
func answerUntilStopped(t *testing.T, ln net.Listener, n *atomic.Int64) (stop func()) {
	soft, cancel := context.WithCancel(t.Context())
	loop := accept.Loop{
		Listener: ln, Soft: soft, Hard: t.Context(),
		Start:  func(c net.Conn) { n.Add(1); c.Write([]byte("!")); c.Close() },
		Failed: func(err error) { t.Error(err) },
	}
	ended := make(chan error, 1)
	go func() { ended <- loop.Run() }()
	return func() {
		cancel()
		loop.LastCall()
		must(t, <-ended)
		ln.Close()
	}
}

// clients connect one after the other until stop, and count how they are served.
type clients struct {
	t              *testing.T
	running        sync.WaitGroup
	served, failed atomic.Int64
	done           chan struct{}
}

// connectForever starts eight goroutines of clients of addr.
func connectForever(t *testing.T, addr string) *clients {
	c := &clients{t: t, done: make(chan struct{})}
	for range 8 {
		c.running.Go(func() {
			for {
				select {
				case <-c.done:
					return
				default:
				}
				if err := ask(addr); err != nil {
					c.failed.Add(1)
					t.Errorf("after %d clients: %v", c.served.Load(), err)
					return
				}
				c.served.Add(1)
			}
		})
	}
	return c
}

// more waits until n more clients have been served, or one has failed.
func (c *clients) more(n int64) {
	c.t.Helper()
	enough := c.served.Load() + n
	deadline := time.Now().Add(20 * time.Second)
	for c.served.Load() < enough && c.failed.Load() == 0 {
		if time.Now().After(deadline) {
			c.t.Fatalf("%d of %d clients served", c.served.Load(), enough)
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *clients) stop() {
	close(c.done)
	c.running.Wait()
}

func ask(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	return err
}

func answerAll(ln net.Listener, n *atomic.Int64) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		n.Add(1)
		c.Write([]byte("!"))
		c.Close()
	}
}

func TestSocketFileTakeover(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	s := mustParse(t, "unix://"+path+"?mode=0600").ReusePort()
	first, err := Open(t.Context(), s, nil, nil)
	must(t, err)
	second, err := Open(t.Context(), s, nil, nil)
	must(t, err)
	must(t, first.Close())
	near, far := connect(t, second)
	exchange(t, near, far)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	must(t, second.Close())
	if _, err := os.Stat(path); err == nil {
		t.Error("Close left the file")
	}
}

// Try reports whether Open would work, and takes no connections from listeners.
func TestTryTakesNoConnections(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0", ":0", "localhost:0"} {
		ln, err := Open(t.Context(), mustParse(t, "tcp://"+address).ReusePort(), nil, nil)
		must(t, err)
		defer ln.Close()
		_, port, err := net.SplitHostPort(ln.Addr().String())
		must(t, err)
		host, _, err := net.SplitHostPort(address)
		must(t, err)
		value := "tcp://" + net.JoinHostPort(host, port)
		must(t, mustParse(t, value).ReusePort().Try(t.Context()))
		var serving sync.WaitGroup
		var answered atomic.Int64
		serving.Go(func() { answerAll(ln, &answered) })
		for range 20 {
			must(t, mustParse(t, value).ReusePort().Try(t.Context()))
			must(t, ask(net.JoinHostPort("127.0.0.1", port)))
		}
		ln.Close()
		serving.Wait()
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0") // without sharing the port
	must(t, err)
	defer taken.Close()
	for _, address := range []string{taken.Addr().String(), "192.0.2.1:9"} { // the second is for documentation, RFC 5737
		err := mustParse(t, "tcp://"+address).ReusePort().Try(t.Context())
		if err == nil || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
