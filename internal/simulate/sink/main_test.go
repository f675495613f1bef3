package sink

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/internal/simulate/record"
	"linesplit/internal/simulate/tally"
	"linesplit/internal/testcert"
)

func TestMain(m *testing.M) {
	// Parallel tests wait for time to pass, not for processors. The command line takes
	// precedence.
	flag.Set("test.parallel", "16")
	goleak.VerifyTestMain(m)
}

// patience limits how long a test waits. A test that passes never reaches it.
const patience = 30 * time.Second

// start starts a sink that ends with the test.
func start(t testing.TB, o Options) *Sink {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Exit)
	return s
}

// testTLS returns the configurations of both sides.
var testTLS = sync.OnceValues(func() (server, client *tls.Config) {
	dir, err := os.MkdirTemp("", "sink")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	certs, err := testcert.Write(dir)
	if err != nil {
		panic(err)
	}
	return certs.ServerTLS(), certs.ClientTLS()
})

// kinds returns the kinds of sinks, by name.
func kinds(t *testing.T) map[string]Options {
	server, _ := testTLS()
	return map[string]Options{
		"tcp":  {},
		"tls":  {TLS: server},
		"unix": {Network: "unix", Address: filepath.Join(t.TempDir(), "sink.sock")},
	}
}

// eachKind runs a test with each kind of sink.
func eachKind(t *testing.T, test func(t *testing.T, o Options)) {
	for name, o := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, o)
		})
	}
}

// peer is a client of a sink.
type peer struct {
	net.Conn          // with TLS if the sink has it
	raw      net.Conn // without TLS
}

// dial connects until the test ends.
func dial(t testing.TB, s *Sink) peer {
	t.Helper()
	p, err := tryDial(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.raw.Close() })
	return p
}

func tryDial(s *Sink) (peer, error) {
	raw, err := net.Dial(s.o.Network, s.Addr())
	if err != nil {
		return peer{}, err
	}
	raw.SetDeadline(time.Now().Add(patience))
	if s.o.TLS == nil {
		return peer{raw, raw}, nil
	}
	_, client := testTLS()
	return peer{tls.Client(raw, client), raw}, nil
}

// visit connects, sends a stream and returns how the connection ended: "eof" or "reset". The
// reset may arrive while it connects.
func visit(t testing.TB, s *Sink, stream []byte) string {
	t.Helper()
	p, err := tryDial(s)
	if errors.Is(err, syscall.ECONNRESET) {
		return "reset"
	}
	if err != nil {
		t.Error(err)
		return ""
	}
	defer p.raw.Close()
	if _, err := p.Write(stream); err != nil {
		return "reset"
	}
	p.closeWrite()
	return p.ends(t, patience)
}

func (p peer) closeWrite() {
	if secure, ok := p.Conn.(*tls.Conn); ok {
		secure.CloseWrite()
	}
	p.raw.(interface{ CloseWrite() error }).CloseWrite()
}

func (p peer) reset() { resetConn(p.raw) }

func (p peer) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := p.Write(b); err != nil {
		t.Fatal(err)
	}
}

// ends returns how the connection ends: "eof", "reset", or "open" if it does not end in time.
func (p peer) ends(t testing.TB, within time.Duration) string {
	t.Helper()
	p.raw.SetReadDeadline(time.Now().Add(within))
	defer p.raw.SetReadDeadline(time.Time{})
	switch _, err := io.Copy(io.Discard, p.Conn); {
	case err == nil:
		return "eof"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "reset"
	default:
		t.Errorf("ends with %v", err)
		return err.Error()
	}
}

// numbered returns a sender's first n records.
func numbered(sender uint32, n int) (stream []byte) {
	g := record.NewGenerator(sender, record.Length{})
	for range n {
		stream = g.Append(stream, time.Now())
	}
	return stream
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out after %v waiting for %s", patience, what)
		}
	}
}

// control serves the control of sinks until the test ends.
func control(t *testing.T, tl *tally.Tally, sinks ...*Sink) *httptest.Server {
	server := httptest.NewServer(NewControl(tl, sinks...).Handler())
	t.Cleanup(server.Close)
	return server
}

// ask sends a request and returns the answer's code and body.
func ask(t testing.TB, method, url, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil || !json.Valid(data) {
		t.Fatalf("%s %s answers %q, %v", method, url, data, err)
	}
	return answer.StatusCode, string(data)
}

// mustAsk is ask for requests that must succeed. It returns the body.
func mustAsk(t testing.TB, method, url, body string) string {
	t.Helper()
	code, answer := ask(t, method, url, body)
	if code != http.StatusOK {
		t.Fatalf("%s %s %s: %d %s", method, url, body, code, answer)
	}
	return answer
}

// heap returns the bytes of heap in use, garbage excluded.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// descriptors returns how many this process has open, or 0 where the system does not tell.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// safeBuffer is a buffer that is safe for concurrent use.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
