package relay

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPipes returns the number of pipe ends that this process has open.
func openPipes(t testing.TB) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// TestBulkUsesPipesWhileItIsCarried also checks that every byte is counted, and that a connection
// at rest holds no pipe.
func TestBulkUsesPipesWhileItIsCarried(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			before := openPipes(t)
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			got := make(chan struct{})
			s := serveAt(t, listenAt(t, network, address), func(c net.Conn) {
				io.CopyN(io.Discard, c, 1<<20)
				<-got
				discard(c)
			})
			r := start(t, Options{Tuning: Tuning{LingerTimeout: 10 * time.Second}}, s.name())
			c := r.dial()
			b := make([]byte, 64<<20)
			go c.Write(b)
			eventually(t, "a pipe in use", func() bool { return openPipes(t) > before })
			close(got)
			eventually(t, "all bytes counted", func() bool { return r.Stats().Targets[0].BytesIn == uint64(len(b)) })
			eventually(t, "pipes given back", func() bool { return openPipes(t) == before })
		})
	}
}

// TestIdleMemory measures the memory that 4,000 pairs at rest take in this process. The clients and
// the target are in another process.
func TestIdleMemory(t *testing.T) {
	const pairs, maxBytes = 4000, 12 << 10
	if os.Getenv("RELAY_TEST_IDLE_CLIENTS") != "" {
		idleClients(t)
		return
	}
	if testing.Short() {
		t.Skip("takes a second, and 20,000 descriptors in two processes")
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); limit.Cur < 2*pairs+100 {
		t.Skipf("only %d descriptors", limit.Cur)
	}
	target := serveAt(t, listenAt(t, "unix", socketPath(t)), func(net.Conn) {})
	target.Close() // only its address is used
	peer := exec.Command(os.Args[0], "-test.run=^TestIdleMemory$")
	in, out := pipesTo(t, peer)
	ln := listenAt(t, "tcp", "127.0.0.1:0")
	path := socketPath(t) + "2"
	peer.Env = append(os.Environ(), "RELAY_TEST_IDLE_CLIENTS="+strconv.Itoa(pairs),
		"RELAY_TEST_CLIENT="+ln.Addr().String(), "RELAY_TEST_TARGET="+path)
	must(t, peer.Start())
	defer peer.Wait()
	defer in.Close()
	waitFor(t, out, "listening")
	r := startAt(t, ln, Options{Tuning: Tuning{IdleTimeout: time.Hour, MaxConnectionsPerClient: pairs}}, "unix://"+path)
	debug.FreeOSMemory() // otherwise memory of earlier tests would be reused
	before := resident(t)
	fmt.Fprintln(in, "go")
	waitFor(t, out, "connected")
	eventually(t, "all there", func() bool { return r.Stats().Active == pairs })
	runtime.GC()
	each := (resident(t) - before) / pairs
	t.Logf("%d bytes for each of %d pairs, %d goroutines", each, pairs, runtime.NumGoroutine())
	if each > maxBytes && !raceEnabled {
		t.Errorf("%d bytes for each pair, want at most %d", each, maxBytes)
	}
}

func pipesTo(t *testing.T, c *exec.Cmd) (io.WriteCloser, io.Reader) {
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	c.Stderr = os.Stderr
	return in, out
}

func waitFor(t *testing.T, out io.Reader, word string) {
	t.Helper()
	b := make([]byte, len(word)+1)
	if _, err := io.ReadFull(out, b); err != nil || string(b) != word+"\n" {
		t.Fatalf("the other process said %q, %v", b, err)
	}
}

// idleClients is the other process: the clients and the target. Each pair has one exchange.
func idleClients(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("RELAY_TEST_IDLE_CLIENTS"))
	serveAt(t, listenAt(t, "unix", os.Getenv("RELAY_TEST_TARGET")), func(c net.Conn) {
		b := make([]byte, 100)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			c.Write(b[:n])
		}
	})
	fmt.Println("listening")
	io.ReadFull(os.Stdin, make([]byte, 3))
	for range n {
		c, err := net.Dial("tcp", os.Getenv("RELAY_TEST_CLIENT"))
		must(t, err)
		defer c.Close()
		exchange(t, c, "hello")
	}
	fmt.Println("connected")
	io.ReadAll(os.Stdin)
}

func resident(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/statm")
	must(t, err)
	n, err := strconv.Atoi(strings.Fields(string(b))[1])
	must(t, err)
	return n * os.Getpagesize()
}
