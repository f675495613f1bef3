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

// LoopsVariable is the environment variable whose value, if there is one, is -loops of the
// linesplit under test in connection mode: with 0 the tests try goroutines.
const LoopsVariable = "LINESPLITTEST_LOOPS"

// StartConnectionMode starts the linesplit under test in connection mode. It listens on a plain TCP
// port unless args have a -listen.
func (s *Stage) StartConnectionMode(targets []Target, args ...string) {
	s.Helper()
	if loops := os.Getenv(LoopsVariable); loops != "" {
		args = append([]string{"-loops", loops}, args...)
	}
	// Unused pipes are closed after an eighth of the linger timeout.
	args = append([]string{"-mode", "connection", "-linger-timeout", "10s"}, args...)
	s.Process = s.StartLinesplit(targets, args...)
	s.Baseline = WaitForUsage(s.T, s.Process, 0).WithWaiting(len(s.Process.Listeners))
}

// WithOptions returns a target with options after its address.
func WithOptions(t Target, query string) Target { return TargetFlag(t.Target() + "?" + query) }

// TargetFlag is a target as the -target flag takes it.
type TargetFlag string

// Target returns the text of the flag.
func (l TargetFlag) Target() string { return string(l) }

// Client holds how a client connects to linesplit.
type Client struct {
	Network string      // tcp, also if empty, or unix
	From    string      // address of this machine to connect from; empty: the kernel's choice
	TLS     *tls.Config // nil: plain
}

// Dial connects to an address, with a deadline of Patience. The caller closes the connection.
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

// DialAs connects to the first listener as Client.Dial does. The connection is closed when the test
// ends.
func (s *Stage) DialAs(c Client) net.Conn {
	s.Helper()
	conn, err := c.Dial(s.T, s.Process.Listeners[0])
	if err != nil {
		s.Fatalf("a client cannot connect: %v", err)
	}
	s.Cleanup(func() { conn.Close() })
	return conn
}

// DialTCP connects to the first listener as the zero Client.
func (s *Stage) DialTCP() *net.TCPConn {
	s.Helper()
	return s.DialAs(Client{}).(*net.TCPConn)
}

// Exchange sends a request, ends its side of the connection, and returns everything that comes
// back.
func (c Client) Exchange(t testing.TB, addr string, request []byte) ([]byte, error) {
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

// Echo is Exchange with a server that must send every byte back.
func (c Client) Echo(t testing.TB, addr string, request []byte) error {
	reply, err := c.Exchange(t, addr, request)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(reply, request):
		return fmt.Errorf("sent %d bytes and got %d other bytes back", len(request), len(reply))
	}
	return nil
}

// ExpectServed checks that a client is served.
func (s *Stage) ExpectServed(c Client) {
	s.Helper()
	if err := c.Echo(s.T, s.Process.Listeners[0], Payload(1000)); err != nil {
		s.Errorf("a client is not served: %v", err)
	}
}

// EchoMany makes n clients echo a payload each, some at the same time, and reports the first error.
func (s *Stage) EchoMany(c Client, n, atOnce int, size func(i int) int) {
	s.Helper()
	s.ForEach(n, atOnce, func(i int) error { return c.Echo(s.T, s.Process.Listeners[0], Payload(size(i))) })
}

// ForEach calls do for 0 to n-1, in atOnce goroutines, and reports the first error.
func (s *Stage) ForEach(n, atOnce int, do func(i int) error) {
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

// ErrorList collects the errors of many goroutines. The zero value is an empty list.
type ErrorList struct {
	mu    sync.Mutex
	n     int
	first error
}

// Add adds an error, unless it is nil.
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

// Report fails the test with the first error, if there is any. The list is that of so many clients.
func (l *ErrorList) Report(t *testing.T, of int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n > 0 {
		t.Errorf("%d of %d clients failed, the first with: %v", l.n, of, l.first)
	}
}

// MaxPayload is the length of the longest payload in bytes.
const MaxPayload = 8 << 20

// noise returns random bytes, of which payloads are parts.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 2*MaxPayload)
	rand.NewChaCha8([32]byte{3}).Read(b)
	return b
})

// Payload returns size random bytes, different ones each time.
func Payload(size int) []byte {
	at := rand.IntN(MaxPayload)
	return noise()[at : at+size : at+size]
}

// VariedSizes returns sizes from 1 byte to MaxPayload, of all magnitudes, with both limits and few
// of the large ones.
func VariedSizes(i int) int {
	switch i {
	case 0:
		return 1
	case 1:
		return MaxPayload
	}
	return int(math.Pow(MaxPayload, math.Pow(rand.Float64(), 6)))
}

// FixedSize returns a function that returns one size.
func FixedSize(size int) func(int) int { return func(int) int { return size } }

// IsReset reports whether an error says that a connection was reset.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// ExpectReset checks that a connection ends with a reset, and returns what is read before.
func (s *Stage) ExpectReset(conn net.Conn, why string) []byte {
	s.Helper()
	b, err := io.ReadAll(conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		s.Errorf("%s: the client reads %d bytes and %s, want a reset", why, len(b), DescribeEnd(err))
	}
	return b
}

// ExpectClosed checks that the other side ends a connection, in any way, without having sent
// anything.
func (s *Stage) ExpectClosed(conn net.Conn, why string) {
	s.Helper()
	b, err := io.ReadAll(conn)
	if len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		s.Errorf("%s: the client reads %d bytes and %s, want it closed", why, len(b), DescribeEnd(err))
	}
}

// DescribeEnd returns the text of an error that ended a connection.
func DescribeEnd(err error) string {
	if err == nil {
		return "a clean end"
	}
	return err.Error()
}

// ExpectRefused checks that a client is not served.
func (s *Stage) ExpectRefused(c Client, why string) {
	s.Helper()
	conn, err := c.Dial(s.T, s.Process.Listeners[0])
	if err != nil {
		return // refused that early
	}
	defer conn.Close()
	s.ExpectClosed(conn, why)
}

// WaitForRefusals waits until n connections were refused for a reason, and checks that there were
// not more.
func (s *Stage) WaitForRefusals(reason string, n int) {
	s.Helper()
	const name = "linesplit_connections_refused_total"
	s.WaitForMetric(float64(n), name, Label("reason", reason))
	if got := s.Process.Metrics().Sum(name, Label("reason", reason)); got != float64(n) {
		s.Errorf("%.0f refused for %s, want %d", got, reason, n)
	}
}

// WaitForTargetUp waits until linesplit counts a target as up, or as down.
func (s *Stage) WaitForTargetUp(t Target, want bool) {
	s.Helper()
	value := 0.0
	if want {
		value = 1
	}
	WaitFor(s.T, fmt.Sprintf("linesplit_target_up of %s is %.0f", t.Target(), value), func() bool {
		return s.Process.Metrics().Sum("linesplit_target_up", Label("target", t.Target())) == value
	})
}

// WaitForConnections waits until n clients are connected.
func (s *Stage) WaitForConnections(n int) {
	s.Helper()
	s.WaitForExactMetric(float64(n), "linesplit_connections")
}

// WaitForQueue waits until n clients are in the queue.
func (s *Stage) WaitForQueue(n int) {
	s.Helper()
	s.WaitForExactMetric(float64(n), "linesplit_connections_waiting")
}

// WaitForExactMetric waits until a series, or the sum of several, has a value.
func (s *Stage) WaitForExactMetric(value float64, name string, labels ...string) {
	s.Helper()
	what := fmt.Sprintf("%s%v is %v", name, labels, value)
	WaitFor(s.T, what, func() bool { return s.Process.Metrics().Sum(name, labels...) == value })
}

// FinishConnectionMode ends most tests of connection mode. All connections must end, nothing may be
// left behind, and linesplit must answer SIGTERM with exit code 0.
func (s *Stage) FinishConnectionMode() {
	s.Helper()
	s.WaitForConnections(0)
	s.CheckLeaks()
	s.Terminate(0)
	if strings.Contains(s.Process.Stderr(), "panic") {
		s.Errorf("linesplit panicked:\n%s", s.Process.LastLines(50))
	}
}

// CountLogLines returns how many lines of the log contain all the parts.
func (s *Stage) CountLogLines(parts ...string) int {
	n := 0
	for line := range strings.Lines(s.Process.Stderr()) {
		if containsAll(line, parts) {
			n++
		}
	}
	return n
}

// WaitForAccessLog waits until a line of the access log contains all the parts.
func (s *Stage) WaitForAccessLog(parts ...string) {
	s.Helper()
	parts = append(parts, "dials")
	if !Poll(Patience, func() bool { return s.CountLogLines(parts...) > 0 }) {
		s.Errorf("no line of the access log has all of %q:\n%s", parts, s.Process.LastLines(10))
	}
}

func containsAll(line string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(line, part) {
			return false
		}
	}
	return true
}

// ClientAddress returns a loopback address, another one for each i up to 60,000. It is in 127.0.1.0
// to 127.0.240.255, where the servers of tests do not listen.
func ClientAddress(i int) string { return fmt.Sprintf("127.0.%d.%d", 1+i/250, 2+i%250) }
