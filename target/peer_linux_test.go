package target

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var lookup = Options{Margin: 64 << 10, Retain: 8 << 20, PeerLookup: true}

// exactly waits until a look reports the position read.
func exactly(t *testing.T, c *Conn, read uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("exact knowledge that %d bytes were read", read), func() bool {
		p := c.Progress()
		if p.Exact && p.Read > read {
			t.Fatalf("%+v though only %d bytes were read", p, read)
		}
		return p.Exact && p.Read == read && p.Known == read
	})
}

// A receiver reads in steps and stops after each: Read is exact, over IPv4, IPv6 and sockets for
// both, and also after its FIN.
func TestLookupIsExact(t *testing.T) {
	t.Parallel()
	// An address that the listener does not have may be another test's, with the same port.
	for where, hosts := range map[string][]string{
		"127.0.0.1:0": {"127.0.0.1"}, "[::1]:0": {"::1"}, "[::]:0": {"127.0.0.1", "::1"},
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", where)
			if err != nil {
				t.Skip(err)
			}
			defer ln.Close()
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			for _, host := range hosts {
				a := Address{Scheme: SchemeTCP, Host: net.JoinHostPort(host, port)}
				if probe, err := net.Dial("tcp", a.Host); err != nil {
					continue // [::] may be without IPv4
				} else {
					probe.Close()
					accept(t, ln)
				}
				c, peer := connect(t, ln, a, lookup)
				readInSteps(t, c, peer)
			}
		})
	}
}

func readInSteps(t *testing.T, c *Conn, peer net.Conn) {
	t.Helper()
	data := pattern(100_000)
	mustWrite(t, c, data)
	exactly(t, c, 0)
	var read uint64
	for _, n := range []int{1, 999, 49_000, 50_000} {
		readN(t, peer, n)
		read += uint64(n)
		exactly(t, c, read)
	}
	closeWrite(t, peer)
	sawFIN(t, c)
	mustWrite(t, c, data[:40_000])
	readN(t, peer, 1000)
	exactly(t, c, read+1000)
	arrived(t, peer, 39_000)
	allAcked(t, c)
	if p := c.Progress(); p.Unread != 39_000 || p.SeemsRead() || p.Hidden != 0 {
		t.Errorf("%+v with 39000 bytes unread", p)
	}
	reset(t, peer)
	if p := failed(t, c); !p.Exact || p.Read != read+1000 || p.Known != read+1000 {
		t.Errorf("%+v after the reset; want what was known, %d", p, read+1000)
	}
}

// With TLS whole records count, less what the peer's TLS may hold: four records and some more.
func TestLookupThroughTLS(t *testing.T) {
	t.Parallel()
	files := certs(t)
	ln, a := listen(t, SchemeTLS)
	o := lookup
	o.TLS = files.ClientTLS
	c, peer := connect(t, tls.NewListener(ln, files.ServerTLS()), a, o)
	const records = 12
	mustWrite(t, c, pattern(records*maxRecord))
	exactly(t, c, 0)
	for n := 1; n <= records; n++ {
		readN(t, peer, maxRecord)
		eventually(t, "the record to count", func() bool {
			p := c.Progress()
			if p.Read > uint64(n*maxRecord) {
				t.Fatalf("%+v after %d records", p, n)
			}
			return p.Exact && p.Read >= uint64(max(0, n-6)*maxRecord)
		})
	}
	eventually(t, "everything to be read", func() bool { return c.Progress().SeemsRead() })
	if p := c.Progress(); !p.Exact || p.Unread != 0 {
		t.Errorf("%+v with everything read", p)
	}
}

// A receiver that dies, in whatever way, with data unread: whatever looks run meanwhile, no more
// counts as read than was read. Once the receiver's socket was gone, the estimate decided. It
// misses what is unread where a receiver has had no CPU time for seconds, and so lines were lost of
// which the kernel had told that they were not read.
func TestLookupNeverCountsWhatADyingPeerHolds(t *testing.T) {
	t.Parallel()
	deaths := map[string]func(net.Conn){
		"close":    func(peer net.Conn) { peer.Close() },
		"linger 0": func(peer net.Conn) { reset(t, peer) }, // counts everything as read in its end
	}
	for name, die := range deaths {
		for range 40 {
			c, peer := connectPlain(t, SchemeTCP, lookup)
			setReceiveBuffer(t, peer, 1<<20) // 100,000 bytes in small packets may not fit into the default
			mustWrite(t, c, pattern(100_000))
			readN(t, peer, 1000)
			arrived(t, peer, 99_000)
			exactly(t, c, 1000)
			estimateMissesAll(c)
			var looks sync.WaitGroup
			looks.Go(func() {
				for {
					p := c.Progress()
					if p.Known > 1000 || p.Read > 1000 || p.SeemsRead() {
						t.Errorf("%s: %+v", name, p)
					}
					if p.Err != nil {
						return
					}
				}
			})
			die(peer)
			looks.Wait()
			c.Close()
		}
	}
}

// estimateMissesAll makes the estimate take everything acknowledged so far for read.
func estimateMissesAll(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.counts.window
	c.margin = 0
	c.estimate = estimator{known: true, peak: w, before: [2]uint64{w, w}, turned: time.Now()}
}

// Without the option, behind a proxy, and where the process may not open netlink sockets, the
// window goes on to be what is known.
func TestNoLookup(t *testing.T) {
	t.Parallel()
	check := func(name string, c *Conn, peer net.Conn) {
		t.Helper()
		mustWrite(t, c, pattern(1000))
		readN(t, peer, 1000)
		allAcked(t, c)
		if p := c.Progress(); p.Exact || p.Known != 0 || p.Hidden == 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	c, peer := connectPlain(t, SchemeTCP, Options{})
	check("off", c, peer)
	ln, a := listen(t, SchemeTCP)
	a.ViaProxy = true
	c, peer = connect(t, ln, a, lookup)
	check("via a proxy", c, peer)
	forbidden := netlinkDiag{fd: -1, open: func() (int, error) { return -1, unix.EAFNOSUPPORT }}
	if forbidden.sharesNamespace(c.sys) {
		t.Error("a question without a netlink socket")
	}
	var answer [diagAnswerSize]byte
	if err := forbidden.ask(new([diagRequestSize]byte), &answer); err != unix.EAFNOSUPPORT {
		t.Error("the answer where it is forbidden:", err)
	}
}

// The listener of the peer's port is what the kernel finds when the connection is gone, and what it
// finds for a peer elsewhere.
func TestLookupTakesNoListenerForThePeer(t *testing.T) {
	t.Parallel()
	ln, _ := listen(t, SchemeTCP)
	c, peer := connectPlain(t, SchemeTCP, lookup)
	q := newPeerQuery(c.raw, c.sys).(*diagSocket)
	if _, err := q.unread(); err != nil {
		t.Fatal(err)
	}
	there := unmapped(ln.Addr().(*net.TCPAddr))
	other := &diagSocket{local: there, remote: q.remote, cookie: noCookie}
	other.fillRequest()
	if n, err := other.unread(); err != errNoPeer {
		t.Errorf("a listener without this connection: %d, %v", n, err)
	}
	reset(t, peer)
	failed(t, c)
	if n, err := q.unread(); err != errPeerGone {
		t.Errorf("after the reset: %d, %v", n, err)
	}
}

// A connection made in another network namespace than the netlink socket's is never asked about.
func TestNoLookupFromAnotherNamespace(t *testing.T) {
	t.Parallel()
	if c, _ := connectPlain(t, SchemeTCP, lookup); !c.Progress().Exact { // opens the netlink socket here
		t.Fatal("no lookup in the namespace of the process")
	}
	inNetwork(t, func() {
		ln, a := listen(t, SchemeTCP)
		c, peer := connect(t, ln, a, lookup)
		if c.peer.query != nil {
			t.Error("asks")
		}
		mustWrite(t, c, pattern(1000))
		readN(t, peer, 1000)
		if p := c.Progress(); p.Exact {
			t.Errorf("%+v", p)
		}
	})
}

// A peer in another network namespace has no socket in this one, although the connection works.
func TestNoLookupOfAPeerInAnotherNamespace(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and the program ip")
	}
	host, far := fmt.Sprintf("lst%08x", rand.Uint32()), fmt.Sprintf("lsf%08x", rand.Uint32())
	prefix := fmt.Sprintf("198.%d.%d.", 18+rand.IntN(2), rand.IntN(256)) // 198.18.0.0/15 is for tests
	var ln net.Listener                                                  // keeps its namespace
	inNetwork(t, func() {
		if !ip(t, "link", "add", far, "type", "veth", "peer", "name", host, "netns", strconv.Itoa(os.Getpid())) ||
			!ip(t, "address", "add", prefix+"2/30", "dev", far) || !ip(t, "link", "set", far, "up") {
			return
		}
		var err error
		if ln, err = net.Listen("tcp", prefix+"2:0"); err != nil {
			t.Error(err)
		}
	})
	if ln == nil {
		t.Skip("no network namespace with a link")
	}
	defer ln.Close()
	defer ip(t, "link", "delete", host)
	if !ip(t, "address", "add", prefix+"1/30", "dev", host) || !ip(t, "link", "set", host, "up") {
		t.Skip("no address for the link")
	}
	c, peer := connect(t, ln, Address{Scheme: SchemeTCP, Host: ln.Addr().String()}, lookup)
	for range 2 * lookupTries {
		mustWrite(t, c, pattern(1000))
		readN(t, peer, 1000)
		if p := c.Progress(); p.Exact || p.Known != 0 {
			t.Errorf("%+v", p)
		}
	}
	if c.peer.query != nil {
		t.Error("goes on asking")
	}
}

func ip(t *testing.T, args ...string) bool {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Logf("ip %v: %v: %s", args, err, out)
	}
	return err == nil
}
