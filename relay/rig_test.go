package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/testcert"
	"linesplit/target"
)

// loops is the number of event loops of the relays under test. TestWithGoroutines runs all tests
// without.
var loops = flag.Int("loops", 2, "event loops of the relays under test")

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "16") // parallel tests wait for time, not for processors; the command line overrides this
	goleak.VerifyTestMain(m)
}

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

// refusing returns the name of a target where no program listens. Another test could get a port of
// 127.0.0.1 that is free.
func refusing(t testing.TB) string {
	ln := listenAt(t, "tcp", net.JoinHostPort(sink.FreshHost(), "0"))
	defer ln.Close()
	return "tcp://" + ln.Addr().String()
}

// records is an access log.
type records struct {
	mu  sync.Mutex
	all []Record
}

func (r *records) Log(rec Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
}

func (r *records) get() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Record(nil), r.all...)
}

// one waits for the first record and returns it.
func (r *records) one(t testing.TB) Record {
	t.Helper()
	eventually(t, "a record", func() bool { return len(r.get()) > 0 })
	return r.get()[0]
}

// rig is a relay that serves one listener.
type rig struct {
	*Relay
	t          testing.TB
	ln         net.Listener
	log        *records
	soft, hard context.CancelFunc
	ended      chan error
}

func listenAt(t testing.TB, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	must(t, err)
	return ln
}

// start serves a loopback port until the test ends.
func start(t testing.TB, o Options, addresses ...string) *rig {
	t.Helper()
	return startAt(t, listenAt(t, "tcp", "127.0.0.1:0"), o, addresses...)
}

func startAt(t testing.TB, ln net.Listener, o Options, addresses ...string) *rig {
	t.Helper()
	for _, a := range addresses {
		o.Targets = append(o.Targets, newTarget(t, a))
	}
	r := &rig{t: t, ln: ln, log: &records{}, ended: make(chan error, 1)}
	if o.AccessLog == nil {
		o.AccessLog = r.log
	}
	o.Loops = *loops
	r.Relay = New(o)
	ln = bareListener(ln)
	soft, endSoft := context.WithCancel(context.Background())
	hard, endHard := context.WithCancel(context.Background())
	r.soft, r.hard = endSoft, endHard
	go func() { r.ended <- r.Serve(soft, hard, ln) }()
	t.Cleanup(func() {
		endHard()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		r.ended <- nil
		r.check()
		endSoft()
	})
	return r
}

// check checks that a relay that has ended counts no open connections.
func (r *rig) check() {
	s := r.Stats()
	if s.Active != 0 || s.Waiting != 0 {
		r.t.Errorf("ended with %d active, %d waiting", s.Active, s.Waiting)
	}
	for _, p := range s.Targets {
		if p.Active != 0 {
			r.t.Errorf("%s: ended with %d active", p.Name, p.Active)
		}
	}
}

func newTarget(t testing.TB, address string) *target.Target {
	t.Helper()
	a, err := target.ParseAddress(address, false)
	must(t, err)
	return target.New(a, nil)
}

// dial connects to the relay.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	return dialTo(r.t, r.ln.Addr())
}

// refusal connects and returns the error that the client gets. It may come from connecting already.
func (r *rig) refusal() error {
	c, err := net.Dial(r.ln.Addr().Network(), r.ln.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.ReadAll(c)
	return err
}

func dialTo(t testing.TB, a net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func (r *rig) refused(reason string) uint64 {
	for _, c := range r.Stats().Refused {
		if c.Reason == reason {
			return c.N
		}
	}
	r.t.Fatalf("unknown reason: %s", reason)
	return 0
}

// server is a target. It calls a function for each connection, in its own goroutine, and closes the
// connection afterwards.
type server struct {
	net.Listener
	accepted atomic.Int64
	conns    sync.WaitGroup
}

func serveAt(t testing.TB, ln net.Listener, serve func(net.Conn)) *server {
	s := &server{Listener: ln}
	s.conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			s.conns.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); s.conns.Wait() })
	return s
}

func serve(t testing.TB, handle func(net.Conn)) *server {
	return serveAt(t, listenAt(t, "tcp", "127.0.0.1:0"), handle)
}

// name returns the target's address.
func (s *server) name() string { return s.Addr().Network() + "://" + s.Addr().String() }

// echoAtEnd replies only once the client has half-closed.
func echoAtEnd(c net.Conn) {
	if b, err := io.ReadAll(c); err == nil {
		c.Write(b)
	}
}

// echo replies at once. It hides the sockets from io.Copy, which would use pipes between them and
// leave those to the garbage collector. Other tests count pipes.
func echo(c net.Conn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }

// discard reads until the end.
func discard(c net.Conn) { io.Copy(io.Discard, c) }

func socketPath(t testing.TB) string {
	if p := filepath.Join(t.TempDir(), "s"); len(p) < 100 {
		return p
	}
	return "@relay-" + strings.ReplaceAll(t.Name(), "/", "-")
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

func exchange(t testing.TB, c net.Conn, text string) {
	t.Helper()
	_, err := c.Write([]byte(text))
	must(t, err)
	b := make([]byte, len(text))
	_, err = io.ReadFull(c, b)
	must(t, err)
	if string(b) != text {
		t.Fatalf("got %q back for %q", b, text)
	}
}

func listenAs(t *testing.T, scheme string, certs testcert.Files) (net.Listener, string) {
	switch scheme {
	case "unix":
		path := socketPath(t)
		return listenAt(t, "unix", path), "unix://" + path
	case "tls":
		ln := listenAt(t, "tcp", "127.0.0.1:0")
		return watchedListener{ln, certs.ServerTLS()}, "tls://" + ln.Addr().String()
	}
	ln := listenAt(t, "tcp", "127.0.0.1:0")
	return ln, "tcp://" + ln.Addr().String()
}

func connectAs(t *testing.T, scheme string, ln net.Listener, certs testcert.Files) net.Conn {
	c := dialTo(t, ln.Addr())
	if scheme == "tls" {
		config := certs.ClientTLS()
		config.ServerName = "localhost"
		return tls.Client(c, config)
	}
	return c
}

func roundTrip(t *testing.T, c net.Conn, size int) {
	defer c.Close()
	sent := make([]byte, size)
	rand.Read(sent)
	if _, err := c.Write(sent); err != nil {
		t.Errorf("%d bytes: %v", size, err)
		return
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
	}
}

// watchedListener accepts TLS connections over sockets that remember their end.
type watchedListener struct {
	net.Listener
	config *tls.Config
}

func (l watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&watched{TCPConn: c.(*net.TCPConn)}, l.config), nil
}

type watched struct {
	*net.TCPConn
	ended bool
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	if err == io.EOF {
		w.ended = true
	}
	return n, err
}

func (w *watched) NetConn() net.Conn { return w.TCPConn }

func (w *watched) Ended() bool { return w.ended }
