package relay

import (
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/simulate/sink"
)

// ioCopy is the baseline: the simplest proxy that carries connections through the kernel.
func ioCopy(ln net.Listener, to string) {
	for {
		a, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer a.Close()
			b, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer b.Close()
			var both sync.WaitGroup
			both.Go(func() { io.Copy(a, b); a.(*net.TCPConn).CloseWrite() })
			both.Go(func() { io.Copy(b, a); b.(*net.TCPConn).CloseWrite() })
			both.Wait()
		}()
	}
}

// proxies runs f with the address of each kind of proxy to the target.
func proxies(b *testing.B, to string, f func(b *testing.B, addr string)) {
	b.Run("io.Copy", func(b *testing.B) {
		ln := listenAt(b, "tcp", "127.0.0.1:0")
		defer ln.Close()
		go ioCopy(ln, to)
		f(b, ln.Addr().String())
	})
	b.Run("relay", func(b *testing.B) {
		r := start(b, Options{Tuning: Tuning{IdleTimeout: time.Hour}}, to)
		f(b, r.ln.Addr().String())
	})
}

// elsewhere returns a process for the clients or the target, so that the CPU time measured here is
// that of the proxy.
func elsewhere(b *testing.B, role, addr string, n int) *exec.Cmd {
	c := exec.Command(os.Args[0], "-test.run=^TestBenchPeer$")
	c.Env = append(os.Environ(), "RELAY_BENCH_ROLE="+role, "RELAY_BENCH_ADDR="+addr, "RELAY_BENCH_N="+strconv.Itoa(n))
	c.Stderr = os.Stderr
	return c
}

// TestBenchPeer is no test: it is the process of elsewhere.
func TestBenchPeer(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("RELAY_BENCH_N"))
	switch addr := os.Getenv("RELAY_BENCH_ADDR"); os.Getenv("RELAY_BENCH_ROLE") {
	case "target":
		ln := listenAt(t, "tcp", addr)
		go func() { io.ReadAll(os.Stdin); os.Exit(0) }()
		for {
			c, err := ln.Accept()
			must(t, err)
			go func() {
				defer c.Close()
				b := make([]byte, 256<<10)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if n <= 100 {
						c.Write(b[:n])
					}
				}
			}()
		}
	case "bulk":
		c, err := net.Dial("tcp", addr)
		must(t, err)
		b := make([]byte, 256<<10)
		for ; n > 0; n -= len(b) {
			_, err := c.Write(b)
			must(t, err)
		}
		c.(*net.TCPConn).CloseWrite()
		io.ReadAll(c)
		c.Close()
	case "connect":
		var left atomic.Int64
		left.Store(int64(n))
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					c, err := net.Dial("tcp", addr)
					must(t, err)
					exchange(t, c, string(make([]byte, 100)))
					c.Close()
				}
			})
		}
		all.Wait()
	}
}

func benchTarget(b *testing.B) string {
	ln := listenAt(b, "tcp", net.JoinHostPort(sink.FreshHost(), "0"))
	addr := ln.Addr().String()
	ln.Close()
	c := elsewhere(b, "target", addr, 0)
	in, err := c.StdinPipe()
	must(b, err)
	must(b, c.Start())
	b.Cleanup(func() { in.Close(); c.Wait() })
	eventually(b, "the target listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

func measure(b *testing.B, role, addr string, n int) {
	runtime.GC()
	begin := cpuTime()
	start := time.Now()
	c := elsewhere(b, role, addr, n)
	must(b, c.Run())
	b.ReportMetric((cpuTime()-begin).Seconds()*1e6/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "op/s")
}

// BenchmarkBulk carries a megabyte in one direction per op.
func BenchmarkBulk(b *testing.B) {
	proxies(b, benchTarget(b), func(b *testing.B, addr string) { measure(b, "bulk", addr, b.N<<20) })
}

// BenchmarkConnect connects, sends 100 bytes in each direction and closes per op.
func BenchmarkConnect(b *testing.B) {
	proxies(b, benchTarget(b), func(b *testing.B, addr string) { measure(b, "connect", addr, b.N) })
}
