package splitter

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

// BenchmarkIdleConnections measures the resident memory of an idle plain connection, besides its
// descriptor, after it has sent a line. The senders are bare sockets, which take no memory in this
// process.
func BenchmarkIdleConnections(b *testing.B) {
	const n = 4000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*n+100 {
		b.Skipf("%d descriptors are too few", limit.Cur)
	}
	ln := listenTCP(b)
	pool, out, s := benchServe(b, ln, Options{Loops: *loopsFlag})
	addr := &syscall.SockaddrInet4{Port: ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	line := []byte(numbered(0, 1, 600))
	fds := make([]int, 0, n)
	first := true
	for b.Loop() {
		before := resident(b)
		for range n {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			if err := syscall.Connect(fd, addr); err != nil {
				b.Fatal(err)
			}
			syscall.Write(fd, line)
			pool.Put(<-out)
			fds = append(fds, fd)
		}
		settle := time.Now().Add(wait)
		for pool.InUse() > 0 && time.Now().Before(settle) {
			time.Sleep(time.Millisecond)
		}
		if first { // later iterations use memory of the first one again
			b.ReportMetric(float64(resident(b)-before)/n, "B/conn")
			first = false
		}
		for _, fd := range fds {
			syscall.Close(fd)
		}
		fds = fds[:0]
		for s.Stats().Connections > 0 && time.Now().Before(settle) {
			time.Sleep(time.Millisecond)
		}
	}
}

func resident(b *testing.B) int64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var size, pages int64
	statm, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(statm), &size, &pages)
	}
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
