//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// door is the admin listener of a running linesplit as clients without a token reach it.
type door struct {
	network, address string
	config           *tls.Config // nil: plain
}

// dial opens a connection whose receive buffer is as small as the kernel allows, so that an answer
// that is not read fills it at once.
func (d door) dial(ctx context.Context, from string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: testrig.Patience, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1) })
	}}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.DialContext(ctx, d.network, d.address)
	if err != nil || d.config == nil {
		return conn, err
	}
	secure := tls.Client(conn, d.config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// client returns an ordinary client that opens a connection for each request.
func (d door) client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   d.config,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, d.network, d.address)
		},
	}}
}

func (d door) url(path string) string {
	if d.config != nil {
		return "https://localhost" + path
	}
	return "http://localhost" + path
}

// crowd is a number of clients that send requests without end and read no answer. A client whose
// connection is closed comes back after comeBack.
type crowd struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	stuck   chan struct{} // gets a value when linesplit takes no more requests from a client
}

// comeBack is short, or seconds under the race detector, with which hundreds of TLS handshakes a
// second leave no time for anything else.
func comeBack() time.Duration {
	if testrig.Race {
		return 5 * time.Second
	}
	return time.Second
}

func (d door) crowd(t *testing.T, n int, from, request string) *crowd {
	ctx, cancel := context.WithCancel(t.Context())
	c := &crowd{stop: cancel, stuck: make(chan struct{}, 1<<16)}
	batch := bytes.Repeat([]byte(request), 20)
	for range n {
		c.running.Go(func() {
			for ctx.Err() == nil {
				conn, err := d.dial(ctx, from)
				if err != nil {
					continue
				}
				c.hold(ctx, conn, batch)
				select {
				case <-time.After(comeBack()):
				case <-ctx.Done():
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); c.running.Wait() })
	return c
}

// hold writes requests until linesplit takes no more, and then keeps the connection until linesplit
// closes it.
func (c *crowd) hold(ctx context.Context, conn net.Conn, batch []byte) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for {
		conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := conn.Write(batch)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return
		}
	}
	c.stuck <- struct{}{}
	awaitReset(ctx, conn)
}

// awaitReset returns when the peer has reset the connection, of which it reads nothing.
func awaitReset(ctx context.Context, conn net.Conn) {
	raw := conn
	if secure, ok := conn.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	sys, err := raw.(syscall.Conn).SyscallConn()
	if err != nil {
		return
	}
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for {
		var failed int
		sys.Control(func(fd uintptr) { failed, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR) })
		if failed != 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// await returns when n clients are stuck.
func (c *crowd) await(t *testing.T, n int) {
	t.Helper()
	patience := time.After(testrig.Patience)
	for i := range n {
		select {
		case <-c.stuck:
		case <-patience:
			t.Fatalf("only %d of %d clients are stuck", i, n)
		}
	}
}

// failures asks for each path n times, and returns what did not get 200.
func (d door) failures(n int, paths ...string) (all []error) {
	client := d.client()
	for range n {
		for _, path := range paths {
			if err := get(client, d.url(path), ""); err != nil {
				all = append(all, fmt.Errorf("%s: %w", path, err))
			}
		}
	}
	return all
}

func get(client *http.Client, url, token string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	if strings.HasSuffix(url, "/events") { // without an end
		_, err = io.ReadFull(answer.Body, make([]byte, 100))
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// doors starts a linesplit for each kind of admin listener and calls test with it.
func doors(t *testing.T, test func(t *testing.T, d door, args ...string)) {
	for _, kind := range []string{"tcp", "tls", "unix"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			switch kind {
			case "tcp":
				test(t, door{network: "tcp"}, "-admin", "127.0.0.1:0")
			case "tls":
				test(t, door{network: "tcp", config: testrig.ClientTLS()}, "-admin", "tls://127.0.0.1:0",
					"-admin-tls-cert", testrig.Certs.ServerCert, "-admin-tls-key", testrig.Certs.ServerKey)
			case "unix":
				path := filepath.Join(t.TempDir(), "admin.sock")
				test(t, door{network: "unix"}, "-admin", "unix://"+path+"?mode=0666")
			}
		})
	}
}

// startAdmin starts a linesplit with an admin listener.
func startAdmin(t *testing.T, d *door, args ...string) *testrig.Process {
	t.Helper()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	p := testrig.StartProcess(t, testrig.ProcessOptions{
		Listeners: 1,
		Args:      append([]string{"-listen", "tcp://127.0.0.1:0", "-target", sink.Target()}, args...),
	})
	d.address = p.Admin
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last lines of linesplit:\n%s", p.LastLines(30))
		}
	})
	testrig.WaitFor(t, "linesplit is ready", func() bool { return len(d.failures(1, "/readyz")) == 0 })
	return p
}

const scrapeRequest = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

// More clients than there are places for connections ask without end and read no answer. All
// places counted as busy, so that 73 of 75 probes found none: an orchestrator ends a process for
// that, with all lines in it.
func TestClientsThatReadNothingKeepOutNoProbe(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, d door, args ...string) {
		startAdmin(t, &d, args...)
		d.crowd(t, 130, "", scrapeRequest).await(t, 120)
		if failed := d.failures(10, "/healthz", "/readyz", "/metrics"); len(failed) > 0 {
			t.Errorf("%d of 30 requests failed, such as %v", len(failed), failed[0])
		}
	})
}

// A scrape held its place until its answer was written, so that 8 scrapers that read nothing
// stopped all others for as long as they liked.
func TestScrapersThatReadNothingStopNoScrape(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, d door, args ...string) {
		startAdmin(t, &d, args...)
		d.crowd(t, 10, "", scrapeRequest).await(t, 10)
		if failed := d.failures(10, "/metrics"); len(failed) > 0 {
			t.Errorf("%d of 10 scrapes failed, such as %v", len(failed), failed[0])
		}
	})
}

// Streams that are open for ever took all 16 places of the streams of events. Their clients share
// the places with other addresses, and clients with the token have places of their own.
func TestStreamsOfOneClientKeepOutNoOther(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("opensesame-opensesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := door{network: "tcp"}
	startAdmin(t, &d, "-admin", "127.0.0.1:0", "-admin-token-file", token)
	streams := d.url("/api/v1/events")
	for range 16 {
		conn, err := d.dial(t.Context(), "127.0.0.2")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := get(d.client(), streams, ""); err != nil {
		t.Errorf("a client from another address: %v", err)
	}
	if err := get(d.client(), streams, "opensesame-opensesame"); err != nil {
		t.Errorf("a client with the token: %v", err)
	}
}
