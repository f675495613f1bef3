package loop

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkPingPong measures a round trip of 64 bytes between a thread and an echo on a loop or in
// a goroutine. CPU time is that of both sides.
func BenchmarkPingPong(b *testing.B) {
	b.Run("loop", func(b *testing.B) {
		g := start(b, 1)
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		MakeRoom(1)
		_, addr := serve(b, g, "tcp", "127.0.0.1:0")
		pingPong(b, addr)
	})
	b.Run("goroutine", func(b *testing.B) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(b, err)
		defer ln.Close()
		go func() {
			nc, err := ln.Accept()
			if err == nil {
				io.CopyBuffer(struct{ io.Writer }{nc}, struct{ io.Reader }{nc}, make([]byte, 4096))
				nc.Close()
			}
		}()
		pingPong(b, ln.Addr())
	})
}

func pingPong(b *testing.B, to net.Addr) {
	nc, err := net.Dial(to.Network(), to.String())
	must(b, err)
	fd, err := Detach(nc.(detachable))
	must(b, err)
	defer Close(fd)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	buf := make([]byte, 64)
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		Write(fd, buf)
		for {
			if _, err := Read(fd, buf); err == nil {
				break
			} else if err != unix.EAGAIN {
				b.Fatal(err)
			}
			awaitData(fd)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkTrickle measures a few bytes that come every half a millisecond: a loop then waits most
// of the time, and holds its processor. CPU time is that of both sides.
func BenchmarkTrickle(b *testing.B) {
	g := start(b, 1)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	MakeRoom(1)
	_, addr := serve(b, g, "tcp", "127.0.0.1:0")
	nc, err := net.Dial(addr.Network(), addr.String())
	must(b, err)
	fd, err := Detach(nc.(detachable))
	must(b, err)
	defer Close(fd)
	buf := make([]byte, 64)
	pause := unix.NsecToTimespec(int64(500 * time.Microsecond))
	before := cpuTime(b)
	for b.Loop() {
		Write(fd, buf)
		unix.Nanosleep(&pause, nil)
		Read(fd, buf)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// awaitData waits as another process would: the scheduler does not see it.
func awaitData(fd int) {
	p := unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	limit := unix.NsecToTimespec(int64(10 * time.Millisecond))
	unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
}

// cpuTime returns the CPU time of the process in nanoseconds.
func cpuTime(t testing.TB) int64 {
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkTurn measures a turn in which one of many sockets is readable: read, write, wait.
func BenchmarkTurn(b *testing.B) {
	g := start(b, 1)
	l := g.Loops()[0]
	near, far := pair(b)
	done := make(chan struct{})
	n := 0
	b.ReportAllocs()
	h := adopt(b, l, near, func(h *handlerFunc, l *Loop, ev Events) {
		if _, err := h.fd.Read(l.Scratch()); err == unix.EAGAIN {
			return
		}
		if n++; n >= b.N {
			close(done)
			return
		}
		Write(far, l.Scratch()[:64])
	})
	b.ResetTimer()
	before := cpuTime(b)
	Write(far, make([]byte, 64))
	<-done
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	on(b, l, h.fd.Close)
	Close(far)
}
