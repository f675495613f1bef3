package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSocketOptions(t *testing.T) {
	for _, dead := range []time.Duration{0, 90 * time.Second, 10 * time.Minute} {
		c, _ := connectPlain(t, SchemeTCP, Options{DeadTimeout: dead})
		k := keepalive(dead)
		for _, option := range []struct {
			name                string
			level, option, want int
		}{
			{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowat},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(k.Interval / time.Second)},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0},     // it would end connections under backpressure
			{"SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP}, // not MPTCP
		} {
			if got := getOption(t, c.raw, option.level, option.option); got != option.want {
				t.Errorf("DeadTimeout %v: %s = %d, want %d", dead, option.name, got, option.want)
			}
		}
	}
}

// A listener whose backlog is full answers nothing, so the dial times out.
func TestDialTrackedTimesOut(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a := Address{Scheme: SchemeTCP, Host: fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)}
	for range 4 {
		start := time.Now()
		var c *Conn
		if c, err = DialTracked(t.Context(), a, &Options{Timeout: 200 * time.Millisecond}); err == nil {
			defer c.Close() // it took a place in the backlog
			continue
		}
		d := time.Since(start)
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) ||
			d < 200*time.Millisecond || d > wait/2 {
			t.Errorf("%v after %v", err, d)
		}
	}
	if err == nil {
		t.Error("nothing timed out")
	}
}

// A connection leaves no descriptor behind, however it ends, and neither does a failed dial. This
// test does not run in parallel: it counts descriptors.
func TestNoDescriptorsAreLeft(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would close leaked descriptors
	files := certs(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	for _, scheme := range []string{SchemeTCP, SchemeUnix, SchemeTLS} {
		ln, a := listen(t, scheme)
		before := count()
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			accepted := make(chan net.Conn, 1)
			go func() {
				peer, _ := ln.Accept()
				if scheme == SchemeTLS {
					cancel() // the server never answers the handshake
				}
				accepted <- peer
			}()
			c, err := DialTracked(ctx, a, &Options{TLS: files.ClientTLS})
			peer := <-accepted
			cancel()
			if (err == nil) == (scheme == SchemeTLS) {
				t.Fatalf("%s: %v", a, err)
			}
			if c != nil {
				c.Write([]byte("x\n"), patient())
				if i%4 >= 2 {
					closeWrite(t, peer)
					sawFIN(t, c)
				}
				if i%2 == 0 {
					c.Abort()
				} else {
					c.Close()
				}
			}
			peer.Close()
		}
		eventually(t, "the descriptors to be closed", func() bool { return count() <= before })
	}
}
