package relay

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/testcert"
	"linesplit/target"
)

// onLoops returns the number of connections that event loops carry now, and of those that
// goroutines do.
func (r *rig) onLoops() (links, conns int) {
	for _, s := range r.allServices() {
		v := s.(*serving)
		conns += len(v.some(1000))
		links += len(v.describeLinks(1000))
	}
	return links, conns
}

func needLoops(t *testing.T) {
	t.Helper()
	if *loops == 0 {
		t.Skip("without event loops")
	}
}

// Plain connections are on event loops, however they were accepted and dialled; others are not.
func TestWhatLoopsCarry(t *testing.T) {
	needLoops(t)
	certs := testcert.New(t, t.TempDir())
	plain := serve(t, echo)
	local := serveAt(t, listenAt(t, "unix", socketPath(t)), echo)
	secure, secureName := listenAs(t, "tls", certs)
	serveAt(t, secure, echo)
	_, port, _ := net.SplitHostPort(plain.Addr().String())
	for _, test := range []struct {
		name, target string
		ln           net.Listener
		links, conns int
	}{
		{"literal address", plain.name(), listenAt(t, "tcp", "127.0.0.1:0"), 1, 0},
		{"name", "tcp://localhost:" + port, listenAt(t, "tcp", "127.0.0.1:0"), 1, 0},
		{"Unix target", local.name(), listenAt(t, "tcp", "127.0.0.1:0"), 1, 0},
		{"Unix client", plain.name(), listenAt(t, "unix", socketPath(t)), 1, 0},
		{"accepted by a goroutine", plain.name(), &faulty{Listener: listenAt(t, "tcp", "127.0.0.1:0")}, 1, 0},
		{"TLS target", secureName, listenAt(t, "tcp", "127.0.0.1:0"), 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{}
			o.DialOptions.TLS = func() *tls.Config { return certs.ClientTLS() }
			r := startAt(t, test.ln, o, test.target)
			c := r.dial()
			exchange(t, c, "hello")
			if links, conns := r.onLoops(); links != test.links || conns != test.conns {
				t.Errorf("loops carry %d, goroutines %d, want %d and %d", links, conns, test.links, test.conns)
			}
			all := r.Connections(10)
			if len(all) != 1 {
				t.Fatalf("%d connections are listed", len(all))
			}
			if d := all[0]; d.Client != c.LocalAddr().String() && d.Client != "@" || d.Target != test.target ||
				d.BytesIn != 5 || d.BytesOut != 5 || d.ID != 1 {
				t.Errorf("listed as %+v", d)
			}
			c.(interface{ CloseWrite() error }).CloseWrite()
			io.ReadAll(c)
			if rec := r.log.one(t); rec.End != "client-closed" || rec.BytesIn != 5 || rec.Dials != 1 || rec.Client != all[0].Client {
				t.Errorf("%+v", rec)
			}
		})
	}
}

// Connections that come and are reset while their targets are dialled, refuse, or answer late leave
// no descriptor and no count.
func TestManyConnectionsResetAtOnceLeaveNothing(t *testing.T) {
	before := openDescriptors(t)
	s := serve(t, echo)
	r := start(t, Options{}, s.name(), refusing(t))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 250 {
				nc, err := net.Dial("tcp", r.ln.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 > 0 {
					nc.Write([]byte("hello"))
					if i%5 == 0 {
						nc.Read(make([]byte, 1))
					}
				}
				nc.(*net.TCPConn).SetLinger(i % 2)
				nc.Close()
			}
		})
	}
	all.Wait()
	eventually(t, "all ended", func() bool { return r.Stats().Active == 0 })
	eventually(t, "the target's connections closed", func() bool { return r.Stats().Targets[0].Active == 0 })
	r.hard()
	must(t, <-r.ended)
	r.ended <- nil
	s.Close()
	s.conns.Wait()
	if n := openDescriptors(t); n > before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
}

func openDescriptors(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// A connect that gets no answer ends with -dial-timeout, and with the hard end.
func TestUnansweredConnectEnds(t *testing.T) {
	t.Parallel()
	o := Options{Tuning: Tuning{DialBudget: 300 * time.Millisecond}}
	o.DialOptions.Timeout = 100 * time.Millisecond
	r := start(t, o, unanswering(t))
	if err := r.refusal(); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if rec := r.log.one(t); rec.End != "dial-failed" || rec.Dials < 2 {
		t.Errorf("%+v", rec)
	}
	if e := r.Stats().Targets[0].LastError; !strings.Contains(e, "i/o timeout") || !strings.Contains(e, "dial target tcp://127") {
		t.Errorf("the target's error: %v", e)
	}

	r = start(t, Options{}, unanswering(t))
	c := r.dial()
	eventually(t, "dialled", func() bool { return r.Stats().Active == 1 })
	r.hard()
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("after the hard end: %v", err)
	}
	if rec := r.log.one(t); rec.End != "shutdown" {
		t.Errorf("%+v", rec)
	}
}

// The kernel may choose the target's port as the local port of a connect to it, which then succeeds
// although nothing listens. Such a connection is refused.
func TestConnectToItselfIsRefused(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	sa, err := unix.Getsockname(fd)
	must(t, err)
	must(t, unix.Connect(fd, sa))
	defer unix.Close(fd)
	k := &link{v: &serving{Relay: New(Options{})}}
	a := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*unix.SockaddrInet4).Port}
	p := newTarget(t, "tcp://"+a.String())
	must(t, k.v.Add(p))
	k.trying = k.v.backends.Streams.All()[0]
	adoptForTest(t, k, fd)
	if err := k.checkConnected(0); err == nil || !isErrno(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

// A client whose connection could not be handed to goroutines, for want of a descriptor, saw an
// orderly end: it could take what it had sent for delivered.
func TestClientThatCannotLeaveItsLoopIsReset(t *testing.T) {
	if *loops == 0 {
		t.Skip("without event loops")
	}
	certs := testcert.New(t, t.TempDir())
	server, client := certs.ServerTLS(), certs.ClientTLS()
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	s := serve(t, func(c net.Conn) {
		// From now on there is no descriptor for anything new; the handshake needs none.
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
			t.Error(err)
		}
		discard(tls.Server(c, server))
	})
	o := Options{Tuning: Tuning{DialOptions: target.Options{TLS: func() *tls.Config { return client }}}}
	r := start(t, o, "tls://"+s.Addr().String())
	if err := r.refusal(); !isReset(err) {
		t.Errorf("%v; want a reset", err)
	}
	if rec := r.log.one(t); rec.End != "dial-failed" {
		t.Errorf("%+v", rec)
	}
}

// hold stops all loops of a relay until release is called.
func (r *rig) hold() (release func()) {
	held, end := make(chan struct{}), make(chan struct{})
	r.eachLoop(func(*serving, int) { held <- struct{}{}; <-end })
	for range *loops {
		<-held
	}
	return func() { close(end) }
}

// eachLoop lets f be called on each loop, with its index.
func (r *rig) eachLoop(f func(v *serving, i int)) {
	eventually(r.t, "served", func() bool { return len(r.allServices()) > 0 })
	for _, s := range r.allServices() {
		v := s.(*serving)
		for i, l := range v.loops.Loops() {
			l.Post(func() { f(v, i) })
		}
	}
}

// targetOption returns an option of the socket to the target of the only link.
func (r *rig) targetOption(level, option int) int {
	r.t.Helper()
	got := make(chan int, 1)
	r.eachLoop(func(v *serving, i int) {
		if k := v.links[i].first; k != nil {
			value, err := unix.GetsockoptInt(k.target.Int(), level, option)
			if err != nil {
				r.t.Error(err)
			}
			got <- value
		}
	})
	return <-got
}

// handshakes are what a client does around the dial of its target, and the packets that the target
// gets.
var handshakes = map[string]struct { // read-only
	options string // of the target
	early   string // what the client has sent when the target is dialled; "end" is its end
	late    string // what it sends once the target has got that, or the header
	packets uint32 // that have come by the time of the first bytes, the SYN included
}{
	"client talks":       {"", "hello", "", 2},
	"client ends":        {"", "end", "", 2},
	"client talks on":    {"", "hello", "more", 2},
	"client waits":       {"", "", "", 3},
	"PROXY header":       {"?proxy-protocol=v1", "", "", 2},
	"PROXY and a client": {"?proxy-protocol=v1", "", "hello", 2},
}

// packetsOf returns how many packets have come over a connection, the SYN included.
func packetsOf(t *testing.T, c net.Conn) (n uint32) {
	t.Helper()
	rc, err := c.(*net.TCPConn).SyscallConn()
	must(t, err)
	rc.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		must(t, err)
		n = info.Segs_in
	})
	return n
}

// What the relay writes at once also acknowledges the target's SYN: the target gets a packet less.
// All the same, its answer is acknowledged as it arrives, so that the second of two small writes is
// not held up. That must not take a call of the relay: it would cost as much as the packet saves.
func TestFirstBytesAcknowledgeTheHandshake(t *testing.T) {
	needLoops(t)
	for name, test := range handshakes {
		t.Run(name, func(t *testing.T) {
			packets, answer, done := make(chan uint32, 1), make(chan struct{}), make(chan struct{})
			s := serve(t, func(c net.Conn) {
				c.Read(make([]byte, 100))
				packets <- packetsOf(t, c)
				if test.late != "" {
					io.ReadFull(c, make([]byte, len(test.late)))
				}
				<-answer
				c.Write([]byte("answer"))
				<-done
			})
			defer close(done)
			r := start(t, Options{}, s.name()+test.options)
			release := r.hold()
			if test.early == "" {
				release()
			}
			c := r.dial()
			switch test.early {
			case "":
				eventually(t, "connected", func() bool { return r.Stats().Targets[0].Total == 1 })
				if test.options == "" {
					c.Write([]byte("hello"))
				}
			case "end":
				c.(*net.TCPConn).CloseWrite()
				release()
			default:
				c.Write([]byte(test.early))
				release()
			}
			if n := <-packets; n != test.packets {
				t.Errorf("%d packets came, want %d", n, test.packets)
			}
			if test.options == "" && r.targetOption(unix.IPPROTO_TCP, unix.TCP_QUICKACK) != 1 {
				t.Error("the relay has to acknowledge the answer")
			}
			c.Write([]byte(test.late))
			close(answer)
			_, err := io.ReadFull(c, make([]byte, 6))
			must(t, err)
			if r.targetOption(unix.IPPROTO_TCP, unix.TCP_QUICKACK) != 1 {
				t.Error("acknowledgements are delayed")
			}
		})
	}
}

// A short connection needs no TCP_NODELAY for its target, and a second write does.
func TestNoDelayIsSetForTheSecondWrite(t *testing.T) {
	needLoops(t)
	for options, first := range map[string]int{"": 0, "?proxy-protocol=v1": 1} {
		s := serve(t, func(c net.Conn) {
			if options != "" {
				readLine(c)
			}
			echo(c)
		})
		r := start(t, Options{}, s.name()+options)
		c := r.dial()
		for i, want := range []int{first, 1, 1} {
			exchange(t, c, "hello")
			if got := r.targetOption(unix.IPPROTO_TCP, unix.TCP_NODELAY); got != want {
				t.Errorf("%s: after write %d TCP_NODELAY is %d, want %d", options, i+1, got, want)
			}
		}
		c.Close()
	}
}

// readLine reads a line and nothing after it.
func readLine(c net.Conn) {
	for b := make([]byte, 1); b[0] != '\n'; {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// One loop accepted for all, so that its work held up the clients that others could have served.
func TestABusyLoopHoldsUpNoClient(t *testing.T) {
	needLoops(t)
	r := start(t, Options{}, serve(t, echo).name())
	busy, release := make(chan struct{}), make(chan struct{})
	r.eachLoop(func(_ *serving, i int) {
		if i == 0 {
			close(busy)
			<-release
		}
	})
	<-busy
	defer close(release)
	c := r.dial()
	c.SetDeadline(time.Now().Add(time.Minute))
	exchange(t, c, "hello")
}
