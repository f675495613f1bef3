package relay

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"linesplit/internal/testcert"
)

func TestReplyAfterAHalfCloseIsCompleteOnEveryPath(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	for _, in := range []string{"tcp", "tls", "unix"} {
		for _, out := range []string{"tcp", "tls", "unix"} {
			t.Run(in+" to "+out, func(t *testing.T) {
				o := Options{}
				o.DialOptions.TLS = func() *tls.Config { return certs.ClientTLS() }
				s, name := listenAs(t, out, certs)
				serveAt(t, s, echoAtEnd)
				ln, _ := listenAs(t, in, certs)
				r := startAt(t, ln, o, name)
				var all sync.WaitGroup
				for _, size := range []int{0, 1, 100, 4 << 10, 32<<10 - 1, 32 << 10, 32<<10 + 1, 1 << 20, 5<<20 + 7} {
					all.Go(func() { roundTrip(t, connectAs(t, in, ln, certs), size) })
				}
				all.Wait()
				eventually(t, "all ended", func() bool { return len(r.log.get()) == 9 })
				for _, rec := range r.log.get() {
					if rec.End != "client-closed" || rec.BytesIn != rec.BytesOut || rec.Target != name || rec.Dials != 1 {
						t.Errorf("%+v", rec)
					}
				}
			})
		}
	}
}

func TestFailedHandshakeIsRefused(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	s := serve(t, discard)
	ln, _ := listenAs(t, "tls", certs)
	r := startAt(t, ln, Options{}, s.name())
	c := r.dial()
	c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	io.ReadAll(c)
	if rec := r.log.one(t); rec.End != "handshake" {
		t.Errorf("%+v", rec)
	}
	if r.Stats().HandshakeErrors != 1 || r.refused("handshake") != 1 || s.accepted.Load() != 0 {
		t.Errorf("%+v", r.Stats())
	}
}

// Checks of a balancer in plain text hid the failed handshakes of clients.
func TestFailedHandshakesOfOneKindDoNotHideOthers(t *testing.T) {
	var log bytes.Buffer
	ln, _ := listenAs(t, "tls", testcert.New(t, t.TempDir()))
	r := startAt(t, ln, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, "127.0.0.1:1")
	for range 3 {
		c := r.dial()
		c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		io.ReadAll(c)
	}
	if _, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: "not.trusted"}); err == nil {
		t.Error("a client trusts the certificate")
	}
	eventually(t, "four records", func() bool { return len(r.log.get()) == 4 }) // each after its line of the log
	for _, want := range []string{"does not look like a TLS handshake", "bad certificate"} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%d lines of the log with %q, want 1:\n%s", n, want, log.String())
		}
	}
}

func TestProxyHeaderComesBeforeTheFirstByte(t *testing.T) {
	for version, want := range map[string]string{
		"v1": "PROXY TCP4 127.0.0.1 ",
		"v2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01",
	} {
		s := serve(t, echo)
		r := start(t, Options{}, s.name()+"?proxy-protocol="+version)
		c := r.dial()
		c.Write([]byte("hello"))
		c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		if !strings.HasPrefix(string(b), want) || !strings.HasSuffix(string(b), "hello") || err != nil {
			t.Errorf("%s: %q, %v", version, b, err)
		}
	}
	path := socketPath(t)
	for version, want := range map[string]string{"v1": "PROXY UNKNOWN\r\n", "v2": "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8"} {
		s := serve(t, echo)
		r := startAt(t, listenAt(t, "unix", path), Options{}, s.name()+"?proxy-protocol="+version)
		c := r.dial()
		c.(*net.UnixConn).CloseWrite()
		if b, err := io.ReadAll(c); !strings.HasPrefix(string(b), want) || err != nil {
			t.Errorf("%s over Unix: %q, %v", version, b, err)
		}
		r.hard()
		<-r.ended
		r.ended <- nil
	}
}

func TestAcceptErrorsAreRetriedAndCounted(t *testing.T) {
	ln := &faulty{Listener: listenAt(t, "tcp", "127.0.0.1:0"), n: 3}
	r := startAt(t, ln, Options{}, serve(t, echo).name())
	exchange(t, r.dial(), "hello")
	if n := r.Stats().AcceptErrors; n != 3 {
		t.Errorf("%d errors", n)
	}
}

type faulty struct {
	net.Listener
	n int
}

func (f *faulty) Accept() (net.Conn, error) {
	if f.n--; f.n >= 0 {
		return nil, fmt.Errorf("too many open files")
	}
	return f.Listener.Accept()
}

func TestSetBalanceAppliesToTheNextClient(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, a.name(), b.name())
	must(t, r.SetBalance(SourceHash))
	for range 10 {
		exchange(t, r.dial(), "hello")
	}
	if n := a.accepted.Load(); n != 0 && n != 10 {
		t.Errorf("one got %d of 10", n)
	}
	if err := r.SetBalance("fair"); err == nil || !strings.Contains(err.Error(), "least-bandwidth") {
		t.Errorf("got %v", err)
	}
}
