package acked

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/linebuf"
	"linesplit/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSender answers by a function.
type fakeSender struct {
	send   func(ctx context.Context, p Part) ([]Refused, error)
	closed chan struct{}
}

func (s *fakeSender) Send(ctx context.Context, p Part) ([]Refused, error) { return s.send(ctx, p) }
func (s *fakeSender) Close()                                              { close(s.closed) }

// newFake returns a connection over a fakeSender that is closed at the end of the test.
func newFake(t *testing.T, options string, rejects *Rejects, send func(context.Context, Part) ([]Refused, error)) *Conn {
	t.Helper()
	return startFake(t, options, send, &Options{Rejects: rejects})
}

// newNoting is newFake for a connection that notes its batches.
func newNoting(t *testing.T, options string, send func(context.Context, Part) ([]Refused, error),
	note func(linebuf.Mark, []linebuf.Run)) *Conn {
	t.Helper()
	return startFake(t, options, send, &Options{Note: note})
}

func startFake(t *testing.T, options string, send func(context.Context, Part) ([]Refused, error), o *Options) *Conn {
	t.Helper()
	s := &fakeSender{send, make(chan struct{})}
	c := newConn(address(t, "http://192.0.2.1/x"+options), s, o)
	t.Cleanup(func() { c.Close(); <-s.closed })
	return c
}

func address(t testing.TB, text string) target.Address {
	t.Helper()
	a, err := target.ParseAddress(text, false)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// buffer returns a buffer with lines.
func buffer(lines ...string) *linebuf.Buffer {
	b := &linebuf.Buffer{Lines: len(lines)}
	for _, l := range lines {
		b.B = append(append(b.B, l...), '\n')
	}
	return b
}

// part returns lines as Send gets them.
func part(lines ...string) Part {
	var b Batch
	b.add(buffer(lines...).B, linebuf.Run{First: newMark(), Lines: len(lines)})
	return b.All()
}

// write writes all of b, and fails the test if that takes too long.
func write(t *testing.T, c *Conn, b *linebuf.Buffer, more bool) {
	t.Helper()
	c.Announce(b, len(b.B), more)
	deadline := time.Now().Add(time.Minute)
	n, err := c.Write(b.B, func() error {
		if time.Now().After(deadline) {
			return fmt.Errorf("no room for %q", b.B)
		}
		return nil
	})
	if err != nil || n != len(b.B) {
		t.Fatal(n, err)
	}
}

// waitFor waits until done returns true after an event.
func waitFor(t *testing.T, c *Conn, done func(target.Progress) bool) target.Progress {
	t.Helper()
	late := time.After(time.Minute)
	for {
		if p := c.Progress(); done(p) {
			return p
		}
		select {
		case <-c.Events():
		case <-late:
			t.Fatalf("still %+v", c.Progress())
		}
	}
}

func acknowledged(n int) func(target.Progress) bool {
	return func(p target.Progress) bool { return p.Acked == uint64(n) || p.Err != nil }
}

func failed(p target.Progress) bool { return p.Err != nil }

// request is what a server has got.
type request struct {
	id, body string
	header   http.Header
	url      string
}

func (r request) lines() []string { return strings.Split(strings.TrimSuffix(r.body, "\n"), "\n") }

// server is a real HTTP server that keeps all requests. answer writes the answer to one.
type server struct {
	*httptest.Server

	mu  sync.Mutex // guards the field below
	got []request
}

func serve(t *testing.T, answer func(w http.ResponseWriter, r request)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has gone
		}
		got := request{r.Header.Get("X-Batch-Id"), string(body), r.Header, r.URL.String()}
		s.mu.Lock()
		s.got = append(s.got, got)
		s.mu.Unlock()
		answer(w, got)
	}))
	t.Cleanup(s.Server.Close)
	return s
}

func (s *server) requests() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// dial connects to the server.
func (s *server) dial(t *testing.T, scheme, pathAndOptions string) *Conn {
	t.Helper()
	return s.dialWith(t, scheme, pathAndOptions, testRejects(t, io.Discard))
}

func (s *server) dialWith(t *testing.T, scheme, pathAndOptions string, rejects *Rejects) *Conn {
	t.Helper()
	host := strings.TrimPrefix(s.URL, "http://")
	o := &Options{Rejects: rejects, Version: "test"}
	c, err := Dial(t.Context(), address(t, scheme+"://"+host+pathAndOptions), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// testRejects logs to w and has no file.
func testRejects(t testing.TB, w io.Writer) *Rejects {
	r := NewRejects(nil, slog.New(slog.NewTextHandler(w, nil)))
	t.Cleanup(r.FlushLog)
	return r
}

// lockedBuffer is a log that other goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
