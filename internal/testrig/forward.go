//go:build linux

package testrig

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Forward starts the linesplit under test in connection mode, on a plain TCP port unless args have a -listen.
func (s *Stage) Forward(targets []Target, args ...string) {
	s.Helper()
	// Pipes that nobody needs any more are closed after an eighth of the linger timeout.
	s.P = s.Start(targets, append([]string{"-mode", "connection", "-linger-timeout", "10s"}, args...)...)
	s.Base = SettledUsage(s.T, s.P, 0)
	const resting = 32 // goroutines for each listener that wait for the next client, at most
	s.Base.goroutines += float64(resting * len(s.P.Listeners))
}

// With is a target with options behind its address.
func With(t Target, query string) Target { return Literal(t.Target() + "?" + query) }

// Literal is a target as the -target flag takes it.
type Literal string

func (l Literal) Target() string { return string(l) }

// Client is how a test's clients reach linesplit.
type Client struct {
	Network string      // tcp where it is empty
	From    string      // address of this machine; empty: as the kernel chooses
	TLS     *tls.Config // nil: plain
}

// Dial connects to an address. The test's end closes it at the latest.
func (c Client) Dial(t testing.TB, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: Patience}
	if c.From != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.From)}
	}
	network := c.Network
	if network == "" {
		network = "tcp"
	}
	conn, err := d.DialContext(t.Context(), network, addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(Patience))
	if c.TLS == nil {
		return conn, nil
	}
	secure := tls.Client(conn, c.TLS)
	if err := secure.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// Client opens a connection to the first listener, and closes it when the test ends.
func (s *Stage) Client(c Client) net.Conn {
	s.Helper()
	conn, err := c.Dial(s.T, s.P.Listeners[0])
	if err != nil {
		s.Fatalf("a client cannot connect: %v", err)
	}
	s.Cleanup(func() { conn.Close() })
	return conn
}

// Plain is a client from the usual address.
func (s *Stage) Plain() *net.TCPConn {
	s.Helper()
	return s.Client(Client{}).(*net.TCPConn)
}

// Ask sends a request, ends the stream and returns what comes back until its end.
func (c Client) Ask(t testing.TB, addr string, request []byte) ([]byte, error) {
	conn, err := c.Dial(t, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var writing sync.WaitGroup
	var writeErr error
	writing.Go(func() {
		if _, writeErr = conn.Write(request); writeErr == nil {
			writeErr = CloseWrite(conn)
		}
	})
	reply, err := io.ReadAll(conn)
	writing.Wait()
	return reply, errors.Join(err, writeErr)
}

// Echo is ask where every byte must come back.
func (c Client) Echo(t testing.TB, addr string, request []byte) error {
	reply, err := c.Ask(t, addr, request)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(reply, request):
		return fmt.Errorf("sent %d bytes and got %d back, which differ", len(request), len(reply))
	}
	return nil
}

// Served checks that a client is served.
func (s *Stage) Served(c Client) {
	s.Helper()
	if err := c.Echo(s.T, s.P.Listeners[0], Payload(1000)); err != nil {
		s.Errorf("a client is not served: %v", err)
	}
}

// Echoes has n clients sent one payload each, some at a time. The first errors are reported.
func (s *Stage) Echoes(c Client, n, atOnce int, size func(i int) int) {
	s.Helper()
	s.Each(n, atOnce, func(i int) error { return c.Echo(s.T, s.P.Listeners[0], Payload(size(i))) })
}

// Each calls do for 0 to n-1 in a few goroutines, and reports the first error.
func (s *Stage) Each(n, atOnce int, do func(i int) error) {
	s.Helper()
	var failures ErrorList
	next := make(chan int)
	var working sync.WaitGroup
	for range atOnce {
		working.Go(func() {
			for i := range next {
				failures.Add(do(i))
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	working.Wait()
	failures.Report(s.T, n)
}

// ErrorList collects errors of many goroutines.
type ErrorList struct {
	mu    sync.Mutex
	n     int
	first error
}

func (l *ErrorList) Add(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n++; l.first == nil {
		l.first = err
	}
}

func (l *ErrorList) Report(t *testing.T, of int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n > 0 {
		t.Errorf("%d of %d clients failed, the first with: %v", l.n, of, l.first)
	}
}

// Most is the longest payload.
const Most = 8 << 20

// noise is random and incompressible; payloads are parts of it.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 2*Most)
	rand.NewChaCha8([32]byte{3}).Read(b)
	return b
})

// Payload is a part of noise of the given size, another one each time.
func Payload(size int) []byte {
	at := rand.IntN(Most)
	return noise()[at : at+size : at+size]
}

// ManySizes is 1 byte to 8 MB, of all magnitudes, with both ends and few of the long ones.
func ManySizes(i int) int {
	switch i {
	case 0:
		return 1
	case 1:
		return Most
	}
	return int(math.Pow(Most, math.Pow(rand.Float64(), 6)))
}

// Always is one size.
func Always(size int) func(int) int { return func(int) int { return size } }

// IsReset says whether an error is what a reset connection gives.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Reset checks that a connection ends with a reset, after what it may still bring, and returns that.
func (s *Stage) Reset(conn net.Conn, why string) []byte {
	s.Helper()
	b, err := io.ReadAll(conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		s.Errorf("%s: the client reads %d bytes and %s, want a reset", why, len(b), EndName(err))
	}
	return b
}

// Over checks that a connection has been ended by the other side without having brought anything.
func (s *Stage) Over(conn net.Conn, why string) {
	s.Helper()
	b, err := io.ReadAll(conn)
	if len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		s.Errorf("%s: the client reads %d bytes and %s, want it closed", why, len(b), EndName(err))
	}
}

func EndName(err error) string {
	if err == nil {
		return "a clean end"
	}
	return err.Error()
}

// Refuses checks that a client does not get through.
func (s *Stage) Refuses(c Client, why string) {
	s.Helper()
	conn, err := c.Dial(s.T, s.P.Listeners[0])
	if err != nil {
		return // that early is fine
	}
	defer conn.Close()
	s.Over(conn, why)
}

// Refused waits until a reason has been counted n times, and checks that it is not more.
func (s *Stage) Refused(reason string, n int) {
	s.Helper()
	const name = "linesplit_connections_refused_total"
	s.Metric(float64(n), name, Label("reason", reason))
	if got := s.P.Metrics().Sum(name, Label("reason", reason)); got != float64(n) {
		s.Errorf("%.0f refused for %s, want %d", got, reason, n)
	}
}

// Up waits until a target is, or is not, up by linesplit's own account.
func (s *Stage) Up(t Target, want bool) {
	s.Helper()
	value := 0.0
	if want {
		value = 1
	}
	WaitFor(s.T, fmt.Sprintf("linesplit_target_up of %s is %.0f", t.Target(), value), func() bool {
		return s.P.Metrics().Sum("linesplit_target_up", Label("target", t.Target())) == value
	})
}

// Connected waits until linesplit carries n connections.
func (s *Stage) Connected(n int) {
	s.Helper()
	s.Exactly(float64(n), "linesplit_connections")
}

// Waiting waits until n clients stand in the queue.
func (s *Stage) Waiting(n int) {
	s.Helper()
	s.Exactly(float64(n), "linesplit_connections_waiting")
}

// Exactly waits until a gauge has a value.
func (s *Stage) Exactly(value float64, name string, labels ...string) {
	s.Helper()
	what := fmt.Sprintf("%s%v is %v", name, labels, value)
	WaitFor(s.T, what, func() bool { return s.P.Metrics().Sum(name, labels...) == value })
}

// FinishForward ends a test in connection mode: nothing is carried and nothing is left, and SIGTERM is answered with exit code 0.
func (s *Stage) FinishForward() {
	s.Helper()
	s.Connected(0)
	s.LeftNothing()
	s.Terminate(0)
	if strings.Contains(s.P.Stderr(), "panic") {
		s.Errorf("a panic:\n%s", s.P.Tail(50))
	}
}

// Logged is how many lines of the log hold all the parts.
func (s *Stage) Logged(parts ...string) int {
	n := 0
	for line := range strings.Lines(s.P.Stderr()) {
		if holdsAll(line, parts) {
			n++
		}
	}
	return n
}

// AccessLine waits for a line of the access log that holds all the parts.
func (s *Stage) AccessLine(parts ...string) {
	s.Helper()
	parts = append(parts, "dials")
	if !Poll(Patience, func() bool { return s.Logged(parts...) > 0 }) {
		s.Errorf("no line of the access log has all of %q:\n%s", parts, s.P.Tail(10))
	}
}

func holdsAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// Address is one of the many of this machine, in a network that no server of a test is in.
func Address(i int) string { return fmt.Sprintf("127.0.%d.%d", 1+i/250, 2+i%250) }
