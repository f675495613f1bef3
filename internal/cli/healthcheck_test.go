package cli

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/tlsconf"
)

// serveHTTP answers on a free port of 127.0.0.1 until the test ends, and returns host:port.
func serveHTTP(t *testing.T, handler http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		server.Serve(ln)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return ln.Addr().String()
}

func checkHealth(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = runCommand(ctx, "healthcheck", args, &out, &err)
	return code, out.String(), err.String()
}

func TestHealthcheck(t *testing.T) {
	// Alive is enough: a supervisor must not restart linesplit because a target is down.
	alive := serveHTTP(t, admin.New(admin.Options{Ready: func() (bool, string) { return false, "no target" }}).Handler())
	port := alive[strings.LastIndex(alive, ":"):]
	redirect := serveHTTP(t, http.RedirectHandler("http://"+alive+"/healthz", http.StatusFound))
	missing := serveHTTP(t, http.NotFoundHandler())
	file := writeFile(t, "port 9000\nadmin "+alive+"\n")
	bad := writeFile(t, "admin 9091\n")
	socket := "unix://" + filepath.Join(t.TempDir(), "admin.sock") + "?mode=0600"
	ln, err := admin.Listen(t.Context(), socket, tlsconf.ServerFiles{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.New(admin.Options{}).Serve(ctx, ln) }()
	defer func() { end(); <-ended }()

	for _, test := range []struct {
		name   string
		env    string // LINESPLIT_ADMIN
		args   []string
		code   int
		stderr string // part of the line on standard error
	}{
		{name: "flag", args: []string{"-admin", alive}},
		{name: "environment", env: alive},
		{name: "flag before environment", env: missing, args: []string{"-admin", alive}},
		{name: "file", args: []string{"-config", file}},
		{name: "every address", args: []string{"-admin", "0.0.0.0" + port}},
		{name: "no host", args: []string{"-admin", port}},
		{name: "a Unix socket", args: []string{"-admin", socket}},
		{name: "a name", args: []string{"-admin", "localhost" + port}},
		{name: "another server", env: missing, code: 1, stderr: "got 404 Not Found"},
		{name: "redirect", env: redirect, code: 1, stderr: "got 302 Found"},
		{name: "no server", env: "127.0.0.1:1", code: 1, stderr: "connection refused"},
		{name: "no address", code: 2, stderr: "give -admin ADDRESS or set LINESPLIT_ADMIN"},
		{name: "no port", args: []string{"-admin", "127.0.0.1:0"}, code: 2, stderr: "port 0 is any free port"},
		{name: "bad address", env: "9091", code: 2, stderr: `-admin "9091" from the environment variable LINESPLIT_ADMIN: a port alone: write :9091 or HOST:9091`},
		{name: "bad address in the file", args: []string{"-config", bad}, code: 2, stderr: bad + `:1: admin "9091": a port alone`},
		{name: "no file", args: []string{"-config", "/nonexistent"}, code: 2, stderr: "/nonexistent"},
		{name: "unknown flag", args: []string{"-port", "1"}, code: 2, stderr: "-port"},
		{name: "argument", env: alive, args: []string{"now"}, code: 2, stderr: `unexpected argument "now"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv("LINESPLIT_ADMIN", test.env)
			t.Setenv("http_proxy", "http://127.0.0.1:1")
			code, stdout, stderr := checkHealth(t.Context(), test.args...)
			if code != test.code || stdout != "" || !strings.Contains(stderr, test.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if lines := strings.Count(stderr, "\n"); lines != min(code, 1) {
				t.Errorf("%d lines on stderr: %q", lines, stderr)
			}
		})
	}
}

func TestHealthcheckHelp(t *testing.T) {
	clearEnv(t)
	code, stdout, stderr := checkHealth(t.Context(), "-help")
	if code != 0 || !strings.HasPrefix(stdout, "Usage: linesplit healthcheck") || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// The kernel accepts connections for a process that is stuck, and the process never answers.
func TestHealthcheckFailsOnAStuckProcess(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	clearEnv(t)
	code, _, stderr := checkHealth(t.Context(), "-admin", ln.Addr().String())
	if code != 1 || !strings.Contains(stderr, "within 2s") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestDialable(t *testing.T) {
	for listen, want := range map[string]string{
		":9091": "localhost:9091", "0.0.0.0:9091": "127.0.0.1:9091", "[::]:9091": "[::1]:9091",
		"10.0.0.1:9091": "10.0.0.1:9091", "tls://:9091": "tls://localhost:9091",
		"unix:///a:1": "unix:///a:1", "[fe80::1%eth0]:1": "[fe80::1%eth0]:1", "host:1": "host:1",
	} {
		if got := dialable(listen); got != want {
			t.Errorf("dialable(%q) = %q, want %q", listen, got, want)
		}
	}
}
