//go:build linux

package main_test

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

	"linesplit/internal/testrig"
)

// forward starts the linesplit under test in connection mode, on a plain TCP port unless args have a -listen.
func (s *stage) forward(targets []target, args ...string) {
	s.Helper()
	// Pipes that nobody needs any more are closed after an eighth of the linger timeout.
	s.p = s.start(targets, append([]string{"-mode", "connection", "-linger-timeout", "10s"}, args...)...)
	s.base = settledUsage(s.T, s.p, 0)
	const resting = 32 // goroutines for each listener that wait for the next client, at most
	s.base.goroutines += float64(resting * len(s.p.Listeners))
}

// with is a target with options behind its address.
type with struct {
	target
	query string
}

func (w with) Target() string { return w.target.Target() + "?" + w.query }

// literal is a target as the -target flag takes it.
type literal string

func (l literal) Target() string { return string(l) }

// client is how a test's clients reach linesplit.
type client struct {
	network string      // tcp where it is empty
	from    string      // address of this machine; empty: as the kernel chooses
	tls     *tls.Config // nil: plain
}

// dial connects to an address. The test's end closes it at the latest.
func (c client) dial(t testing.TB, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: testrig.Patience}
	if c.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.from)}
	}
	network := c.network
	if network == "" {
		network = "tcp"
	}
	conn, err := d.DialContext(t.Context(), network, addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(testrig.Patience))
	if c.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, c.tls)
	if err := secure.Handshake(); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// client opens a connection to the first listener, and closes it when the test ends.
func (s *stage) client(c client) net.Conn {
	s.Helper()
	conn, err := c.dial(s.T, s.p.Listeners[0])
	if err != nil {
		s.Fatalf("a client cannot connect: %v", err)
	}
	s.Cleanup(func() { conn.Close() })
	return conn
}

// plain is a client from the usual address.
func (s *stage) plain() *net.TCPConn {
	s.Helper()
	return s.client(client{}).(*net.TCPConn)
}

// ask sends a request, ends the stream and returns what comes back until its end.
func (c client) ask(t testing.TB, addr string, request []byte) ([]byte, error) {
	conn, err := c.dial(t, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var writing sync.WaitGroup
	var writeErr error
	writing.Go(func() {
		if _, writeErr = conn.Write(request); writeErr == nil {
			writeErr = testrig.CloseWrite(conn)
		}
	})
	reply, err := io.ReadAll(conn)
	writing.Wait()
	return reply, errors.Join(err, writeErr)
}

// echo is ask where every byte must come back.
func (c client) echo(t testing.TB, addr string, request []byte) error {
	reply, err := c.ask(t, addr, request)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(reply, request):
		return fmt.Errorf("sent %d bytes and got %d back, which differ", len(request), len(reply))
	}
	return nil
}

// served checks that a client is served.
func (s *stage) served(c client) {
	s.Helper()
	if err := c.echo(s.T, s.p.Listeners[0], payload(1000)); err != nil {
		s.Errorf("a client is not served: %v", err)
	}
}

// echoes has n clients sent one payload each, some at a time. The first errors are reported.
func (s *stage) echoes(c client, n, atOnce int, size func(i int) int) {
	s.Helper()
	s.each(n, atOnce, func(i int) error { return c.echo(s.T, s.p.Listeners[0], payload(size(i))) })
}

// each calls do for 0 to n-1 in a few goroutines, and reports the first error.
func (s *stage) each(n, atOnce int, do func(i int) error) {
	s.Helper()
	var failures errorList
	next := make(chan int)
	var working sync.WaitGroup
	for range atOnce {
		working.Go(func() {
			for i := range next {
				failures.add(do(i))
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	working.Wait()
	failures.report(s.T, n)
}

// errorList collects errors of many goroutines.
type errorList struct {
	mu    sync.Mutex
	n     int
	first error
}

func (l *errorList) add(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n++; l.first == nil {
		l.first = err
	}
}

func (l *errorList) report(t *testing.T, of int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n > 0 {
		t.Errorf("%d of %d clients failed, the first with: %v", l.n, of, l.first)
	}
}

// most is the longest payload.
const most = 8 << 20

// noise is random and incompressible; payloads are parts of it.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 2*most)
	rand.NewChaCha8([32]byte{3}).Read(b)
	return b
})

// payload is a part of noise of the given size, another one each time.
func payload(size int) []byte {
	at := rand.IntN(most)
	return noise()[at : at+size : at+size]
}

// manySizes is 1 byte to 8 MB, of all magnitudes, with both ends and few of the long ones.
func manySizes(i int) int {
	switch i {
	case 0:
		return 1
	case 1:
		return most
	}
	return int(math.Pow(most, math.Pow(rand.Float64(), 6)))
}

// always is one size.
func always(size int) func(int) int { return func(int) int { return size } }

// isReset says whether an error is what a reset connection gives.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// reset checks that a connection ends with a reset, after what it may still bring, and returns that.
func (s *stage) reset(conn net.Conn, why string) []byte {
	s.Helper()
	b, err := io.ReadAll(conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		s.Errorf("%s: the client reads %d bytes and %s, want a reset", why, len(b), endName(err))
	}
	return b
}

// over checks that a connection has been ended by the other side without having brought anything.
func (s *stage) over(conn net.Conn, why string) {
	s.Helper()
	b, err := io.ReadAll(conn)
	if len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		s.Errorf("%s: the client reads %d bytes and %s, want it closed", why, len(b), endName(err))
	}
}

func endName(err error) string {
	if err == nil {
		return "a clean end"
	}
	return err.Error()
}

// refuses checks that a client does not get through.
func (s *stage) refuses(c client, why string) {
	s.Helper()
	conn, err := c.dial(s.T, s.p.Listeners[0])
	if err != nil {
		return // that early is fine
	}
	defer conn.Close()
	s.over(conn, why)
}

// refused waits until a reason has been counted n times, and checks that it is not more.
func (s *stage) refused(reason string, n int) {
	s.Helper()
	const name = "linesplit_connections_refused_total"
	s.metric(float64(n), name, testrig.Label("reason", reason))
	if got := s.p.Metrics().Sum(name, testrig.Label("reason", reason)); got != float64(n) {
		s.Errorf("%.0f refused for %s, want %d", got, reason, n)
	}
}

// up waits until a target is, or is not, up by linesplit's own account.
func (s *stage) up(t target, want bool) {
	s.Helper()
	value := 0.0
	if want {
		value = 1
	}
	testrig.WaitFor(s.T, fmt.Sprintf("linesplit_target_up of %s is %.0f", t.Target(), value), func() bool {
		return s.p.Metrics().Sum("linesplit_target_up", testrig.Label("target", t.Target())) == value
	})
}

// connected waits until linesplit carries n connections.
func (s *stage) connected(n int) {
	s.Helper()
	s.exactly(float64(n), "linesplit_connections")
}

// waiting waits until n clients stand in the queue.
func (s *stage) waiting(n int) {
	s.Helper()
	s.exactly(float64(n), "linesplit_connections_waiting")
}

// exactly waits until a gauge has a value.
func (s *stage) exactly(value float64, name string, labels ...string) {
	s.Helper()
	what := fmt.Sprintf("%s%v is %v", name, labels, value)
	testrig.WaitFor(s.T, what, func() bool { return s.p.Metrics().Sum(name, labels...) == value })
}

// finishForward ends a test in connection mode: nothing is carried and nothing is left, and SIGTERM is answered with exit code 0.
func (s *stage) finishForward() {
	s.Helper()
	s.connected(0)
	s.leftNothing()
	s.terminate(0)
	if strings.Contains(s.p.Stderr(), "panic") {
		s.Errorf("a panic:\n%s", s.p.Tail(50))
	}
}

// logged is how many lines of the log hold all the parts.
func (s *stage) logged(parts ...string) int {
	n := 0
	for line := range strings.Lines(s.p.Stderr()) {
		if holdsAll(line, parts) {
			n++
		}
	}
	return n
}

// accessLine waits for a line of the access log that holds all the parts.
func (s *stage) accessLine(parts ...string) {
	s.Helper()
	parts = append(parts, "dials")
	if !testrig.Poll(testrig.Patience, func() bool { return s.logged(parts...) > 0 }) {
		s.Errorf("no line of the access log has all of %q:\n%s", parts, s.p.Tail(10))
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

// settledAt waits until a number has not changed for a while, and returns it.
func settledAt(t *testing.T, what string, number func() int) (last int) {
	t.Helper()
	last, since := -1, time.Now()
	testrig.WaitFor(t, what+" settles", func() bool {
		if now := number(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
	return last
}

// address is one of the many of this machine, in a network that no server of a test is in.
func address(i int) string { return fmt.Sprintf("127.0.%d.%d", 1+i/250, 2+i%250) }
