package target

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dials are both ways to dial, without their results.
var dials = map[string]func(context.Context, Address, *Options) error{
	"Dial": func(ctx context.Context, a Address, o *Options) error {
		c, err := Dial(ctx, a, o, nil)
		if err == nil {
			c.Close()
		}
		return err
	},
	"DialTracked": func(ctx context.Context, a Address, o *Options) error {
		c, err := DialTracked(ctx, a, o)
		if err == nil {
			c.Close()
		}
		return err
	},
}

// fullBacklog returns a Unix listener whose backlog is full, and the number of connections in it.
func fullBacklog(t *testing.T) (net.Listener, Address, int) {
	t.Helper()
	ln, a := listen(t, SchemeUnix)
	control(t, ln.(*net.UnixListener), func(fd int) error { return unix.Listen(fd, 0) })
	for n := 0; ; n++ {
		conn, err := net.Dial("unix", a.Host)
		if errors.Is(err, syscall.EAGAIN) {
			return ln, a, n
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// A dial of a busy Unix target failed in 0 ms with EAGAIN, so that a server under load was taken
// for one that is down. It waits like a blocking connect.
func TestDialWaitsForAFullBacklog(t *testing.T) {
	t.Parallel()
	for name, dial := range dials {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, a, waiting := fullBacklog(t)
			var dialling sync.WaitGroup
			var err error
			dialling.Go(func() { err = dial(t.Context(), a, &Options{Timeout: wait}) })
			time.Sleep(20 * time.Millisecond) // without it the test would pass too, but show less
			for range waiting {
				accept(t, ln)
			}
			if dialling.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The backlog stays full: the dial ends with its time limit, and blames the target.
func TestDialOfAFullBacklogTimesOut(t *testing.T) {
	t.Parallel()
	for name, dial := range dials {
		_, a, _ := fullBacklog(t)
		const limit = 100 * time.Millisecond
		start := time.Now()
		err := dial(t.Context(), a, &Options{Timeout: limit})
		if took := time.Since(start); took < limit || took > wait/2 {
			t.Errorf("%s: took %v, want %v", name, took, limit)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.EAGAIN) || IsLocalError(err) {
			t.Errorf("%s: %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if err := dial(ctx, a, new(Options)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: after the context's end: %v", name, err)
		}
	}
}

// inNetwork calls f in a network namespace of its own, which has nothing but a loopback device.
func inNetwork(t *testing.T, f func()) {
	t.Helper()
	var running sync.WaitGroup
	running.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Log("no network namespace:", err)
			return
		}
		if err := raiseLoopback(); err != nil {
			t.Error(err)
			return
		}
		f()
	})
	running.Wait()
}

// raiseLoopback makes the namespace's loopback device usable.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(request)))
	if errno != 0 {
		return errno
	}
	return nil
}

func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Error(err)
	}
}

// EADDRNOTAVAIL has two causes. A target without an address to reach it from passed for up for
// ever, because a lack of local ports is no fault of the target.
func TestNoAddressIsNotALackOfPorts(t *testing.T) {
	t.Parallel()
	o := &Options{Timeout: wait}
	inNetwork(t, func() {
		setSysctl(t, "ipv6/conf/all/disable_ipv6", "1")
		for name, dial := range dials {
			err := dial(t.Context(), Address{Scheme: SchemeTCP, Host: "[::1]:9"}, o)
			if !errors.Is(err, syscall.EADDRNOTAVAIL) || IsLocalError(err) {
				t.Errorf("%s without IPv6: %v; local error: %v", name, err, IsLocalError(err))
			}
		}
		_, err := Dial(t.Context(), Address{Scheme: SchemeUDP, Host: "[::1]:9"}, o, nil)
		if !errors.Is(err, syscall.EADDRNOTAVAIL) || IsLocalError(err) {
			t.Errorf("UDP without IPv6: %v; local error: %v", err, IsLocalError(err))
		}
		setSysctl(t, "ipv4/ip_local_port_range", "40000 40001")
		ln, a := listen(t, SchemeTCP)
		defer ln.Close()
		wantShortage(t, a, o, syscall.EADDRNOTAVAIL)
		// Linux reports the lack of UDP ports as EAGAIN, which passed for the target's fault.
		wantShortage(t, Address{Scheme: SchemeUDP, Host: "127.0.0.1:9"}, o, syscall.EAGAIN)
	})
}

// wantShortage dials until the local ports are taken.
func wantShortage(t *testing.T, a Address, o *Options, want syscall.Errno) {
	t.Helper()
	for range 4 {
		c, err := Dial(t.Context(), a, o, nil)
		if err == nil {
			defer c.Close()
			continue
		}
		if !errors.Is(err, want) || !IsLocalError(err) {
			t.Errorf("%s without ports: %v; local error: %v", a, err, IsLocalError(err))
		}
		return
	}
	t.Errorf("%s: there were ports left", a)
}

// Without a descriptor the resolver cannot read /etc/hosts, and reported a name in it as unknown:
// the shortage passed for the target's fault. This test does not run in parallel: it takes all
// descriptors.
func TestNoDescriptorIsNotTheTargetsFault(t *testing.T) {
	_, numeric := listen(t, SchemeTCP)
	_, port, err := net.SplitHostPort(numeric.Host)
	if err != nil {
		t.Fatal(err)
	}
	_, local := listen(t, SchemeUnix)
	named := Address{Scheme: SchemeTCP, Host: net.JoinHostPort("localhost", port)}
	errs := map[string]error{}
	withoutDescriptors(t, func() {
		for _, a := range []Address{numeric, named, local} {
			for name, dial := range dials {
				errs[name+" "+a.String()] = dial(t.Context(), a, &Options{Timeout: wait})
			}
		}
	})
	for name, err := range errs {
		if !IsLocalError(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// withoutDescriptors calls f while this process can open no file.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 200, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for {
		null, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		defer null.Close()
	}
	f()
}
