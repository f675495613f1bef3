package discovery

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveRaw answers each connection with what serve writes after a request, and returns the URL of a
// source.
func serveRaw(t *testing.T, serve func(conn net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(wait))
				conn.Read(make([]byte, 4096))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	return "discover+http://" + ln.Addr().String() + "/"
}

// bomb is 64 MiB of a list, compressed.
func bomb(t *testing.T) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 1024 {
		if _, err := z.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	z.Close()
	return b.String()
}

// What a server gets wrong about HTTP itself is no answer either.
func TestHTTPServerLies(t *testing.T) {
	const head, list = "HTTP/1.1 200 OK\r\n", `[{"targets":["a:1","b:1"]}]`
	compressed := bomb(t)
	endless := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
			}
		}
	}
	for name, test := range map[string]struct {
		serve func(net.Conn)
		want  string // in the error
	}{
		"closes at once":      {func(net.Conn) {}, "EOF"},
		"another protocol":    {func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") }, "malformed HTTP"},
		"a length too short":  {func(c net.Conn) { fmt.Fprintf(c, "%sContent-Length: 20\r\n\r\n%s", head, list) }, "not a JSON list"},
		"a length too long":   {func(c net.Conn) { fmt.Fprintf(c, "%sContent-Length: 99\r\n\r\n%s", head, list) }, "unexpected EOF"},
		"a length below zero": {func(c net.Conn) { fmt.Fprintf(c, "%sContent-Length: -1\r\n\r\n%s", head, list) }, "Content-Length"},
		"no last chunk":       {func(c net.Conn) { fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n1b\r\n%s\r\n", head, list) }, "unexpected EOF"},
		"cut off":             {func(c net.Conn) { fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s", list[:20]) }, "not a JSON list"},
		"endless header":      {func(c net.Conn) { io.WriteString(c, head); endless(strings.Repeat("X-A: b\r\n", 500))(c) }, "exceed"},
		"endless line":        {endless(strings.Repeat("x", 4096)), "exceed"},
		"endless early hints": {endless(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)), ""},
		"bomb": {func(c net.Conn) {
			fmt.Fprintf(c, "%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", head, len(compressed), compressed)
		}, "more than 4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			a, err := newHTTPSource(mustSpec(t, serveRaw(t, test.serve))).lookup(ctx)
			if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), test.want) || len(errorText(err)) > maxErrorText+len("…") {
				t.Errorf("%v, %v, want %q", a.Targets, err, test.want)
			}
		})
	}
}

// A redirect leads to HTTP servers alone, and the token stays with the host that it is for.
func TestHTTPRedirectsElsewhere(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("another host gets %q", got)
		}
		fmt.Fprint(w, `[{"targets":["a:1"]}]`)
	}))
	defer elsewhere.Close()
	_, port, _ := net.SplitHostPort(elsewhere.Listener.Addr().String())
	for to, want := range map[string]string{
		"http://localhost:" + port + "/": "", "file:///etc/passwd": "unsupported protocol scheme", "unix:///x": "unsupported protocol scheme",
		"http://": "no Host", "": "status 302", "http://127.0.0.1:1/": "refused",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if to != "" {
				w.Header().Set("Location", to)
			}
			w.WriteHeader(http.StatusFound)
		}))
		a, err := ask(t, httpSpec(t, server, "/?token-file="+token))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || (len(a.Targets) == 1) != (want == "") {
			t.Errorf("to %q: %v, %v, want %q", to, a.Targets, err, want)
		}
		server.Close()
	}
}
