//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// Tests with real servers behind linesplit and their own clients. `make test-services` starts the
// servers.

// service returns the targets of a real server from the environment, or skips the test.
func service(t *testing.T, variable string, clients ...string) []testrig.Target {
	t.Helper()
	list := os.Getenv(variable)
	if list == "" {
		t.Skipf("needs a real server, and %s is empty: `make test-services` starts one", variable)
	}
	for _, client := range clients {
		if _, err := exec.LookPath(client); err != nil {
			t.Skipf("needs the client %s: `make test-services` installs it", client)
		}
	}
	var targets []testrig.Target
	for text := range strings.SplitSeq(list, ",") {
		targets = append(targets, testrig.TargetFlag(text))
	}
	return targets
}

// scheme returns the scheme of a target's address.
func scheme(t testrig.Target) string {
	name, _, _ := strings.Cut(t.Target(), "://")
	return name
}

// output runs a program and returns what it writes to standard output, without the last newline.
func output(t *testing.T, stdin []byte, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, &stderr)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// socketDir returns a directory for sockets, whose paths must be short.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ls")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A web server: pages, uploads and downloads of 8 MiB, many requests on one connection, and TLS on
// either side.
func TestRealHTTPServer(t *testing.T) {
	t.Parallel()
	targets := service(t, "LINESPLIT_TEST_HTTP", "curl")
	for _, test := range targets {
		for _, in := range []string{"http", "https"} {
			t.Run(in+" to "+scheme(test), func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				args := []string{"-health", "http", "-health-path", "/health", "-health-status", "200",
					"-health-interval", "100ms"}
				if in == "https" {
					args = append(args, testrig.TLSListenerArgs()...)
				}
				if scheme(test) == "tls" {
					args = append(args, "-tls-target-skip-verify")
				}
				s.StartConnectionMode([]testrig.Target{test}, args...)
				_, port, _ := net.SplitHostPort(s.Process.Listeners[0])
				base := in + "://localhost:" + port
				curl := func(args ...string) string {
					return output(t, nil, "curl", append([]string{"-fsS", "-4", "--cacert", testrig.Certs.CA,
						"--max-time", "60"}, args...)...)
				}
				if got := curl(base + "/health"); got != "all is well" {
					t.Errorf("got %q", got)
				}
				dir := t.TempDir()
				up, down := filepath.Join(dir, "up"), filepath.Join(dir, "down")
				content := testrig.Payload(testrig.MaxPayload)
				if err := os.WriteFile(up, content, 0o600); err != nil {
					t.Fatal(err)
				}
				there := fmt.Sprintf("%s/%s-%s", base, in, scheme(test))
				curl("-T", up, there)
				curl("-o", down, there)
				if got, err := os.ReadFile(down); err != nil || !bytes.Equal(got, content) {
					t.Errorf("a file of %d bytes came back as %d other bytes (%v)", len(content), len(got), err)
				}
				curl("-X", "DELETE", there)
				got := curl("--parallel", "--parallel-max", "20", base+"/health?[1-200]")
				if n := strings.Count(got, "all is well"); n != 200 {
					t.Errorf("200 parallel requests got %d answers", n)
				}
				s.WaitForMetric(2, "linesplit_target_checks_total", testrig.Label("result", "passed"))
				s.WaitForTargetUp(test, true)
				s.WaitForConnections(0)
				s.Terminate(0)
			})
		}
	}
}

// Redis: its client, a pipeline of 10,000 commands, values of 4 MiB, and -health redis.
func TestRealRedis(t *testing.T) {
	t.Parallel()
	targets := service(t, "LINESPLIT_TEST_REDIS", "redis-cli")
	for _, test := range targets { // one after the other, because they use the same keys
		t.Run(scheme(test), func(t *testing.T) {
			s := testrig.NewStage(t)
			in := filepath.Join(socketDir(t), "redis.sock")
			s.StartConnectionMode([]testrig.Target{test}, "-listen", "tcp://127.0.0.1:0", "-listen", "unix://"+in,
				"-health", "redis", "-health-interval", "100ms")
			host, port, _ := net.SplitHostPort(s.Process.Listeners[0])
			overTCP, overUnix := []string{"-h", host, "-p", port}, []string{"-s", in}
			for _, way := range [][]string{overTCP, overUnix} {
				redis := func(stdin []byte, args ...string) string {
					return output(t, stdin, "redis-cli", append(way, args...)...)
				}
				if got := redis(nil, "PING"); got != "PONG" {
					t.Errorf("PING is answered with %q", got)
				}
				content := bytes.ReplaceAll(testrig.Payload(4<<20), []byte("\n"), []byte(" "))
				redis(content, "-x", "SET", "blob")
				if got := redis(nil, "--raw", "GET", "blob"); got != string(content) {
					t.Errorf("a value of %d bytes came back as %d other bytes", len(content), len(got))
				}
				redis(nil, "SET", "n", "0")
				got := redis(bytes.Repeat([]byte("INCR n\r\n"), 10_000), "--pipe")
				if !strings.Contains(got, "errors: 0, replies: 10000") {
					t.Errorf("10,000 commands: %s", got)
				}
				if got := redis(nil, "GET", "n"); got != "10000" {
					t.Errorf("10,000 increments make %q", got)
				}
			}
			s.WaitForMetric(2, "linesplit_target_checks_total", testrig.Label("result", "passed"))
			// With a password, Redis answers PING with an error, and is still healthy.
			output(t, nil, "redis-cli", append(overTCP, "CONFIG", "SET", "requirepass", "secret")...)
			passed := s.Process.Metrics().Sum("linesplit_target_checks_total", testrig.Label("result", "passed"))
			s.WaitForMetric(passed+3, "linesplit_target_checks_total", testrig.Label("result", "passed"))
			output(t, nil, "redis-cli", append(overTCP, "--no-auth-warning", "-a", "secret", "CONFIG", "SET",
				"requirepass", "")...)
			s.WaitForExactMetric(0, "linesplit_target_checks_total", testrig.Label("result", "failed"))
			s.WaitForTargetUp(test, true)
			s.WaitForConnections(0)
			s.Terminate(0)
		})
	}
	t.Run("the check fails for a web server", func(t *testing.T) {
		web := service(t, "LINESPLIT_TEST_HTTP")[0]
		s := testrig.NewStage(t)
		s.StartConnectionMode([]testrig.Target{targets[0], web}, "-health", "redis", "-health-interval", "100ms")
		s.WaitForTargetUp(web, false)
		s.WaitForTargetUp(targets[0], true)
		s.Terminate(0)
	})
}

// PostgreSQL: plain and with TLS, which begins in mid-stream there, Unix sockets on either side,
// and bulk data in both directions.
func TestRealPostgreSQL(t *testing.T) {
	t.Parallel()
	targets := service(t, "LINESPLIT_TEST_POSTGRES", "psql")
	for _, test := range targets {
		t.Run(scheme(test), func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			dir := socketDir(t)
			s.StartConnectionMode([]testrig.Target{test}, "-listen", "tcp://127.0.0.1:0", "-listen",
				"unix://"+filepath.Join(dir, ".s.PGSQL.5432"), "-health", "tcp")
			host, port, _ := net.SplitHostPort(s.Process.Listeners[0])
			ways := map[string]string{
				"plain": fmt.Sprintf("host=%s port=%s sslmode=disable", host, port),
				"TLS":   fmt.Sprintf("host=%s port=%s sslmode=require", host, port),
				"Unix":  fmt.Sprintf("host=%s port=5432", dir),
			}
			if scheme(test) == "unix" {
				delete(ways, "TLS") // PostgreSQL has no TLS on its Unix socket
			}
			for name, way := range ways {
				t.Run(name, func(t *testing.T) { usePostgres(t, way+" user=postgres dbname=postgres", name == "TLS") })
			}
			s.WaitForConnections(0)
			s.Terminate(0)
		})
	}
}

// usePostgres makes small and large queries to the database that conninfo names.
func usePostgres(t *testing.T, conninfo string, encrypted bool) {
	sql := func(stdin []byte, commands ...string) string {
		args := []string{"-X", "-v", "ON_ERROR_STOP=1", "-Atq", conninfo}
		for _, command := range commands {
			args = append(args, "-c", command)
		}
		return output(t, stdin, "psql", args...)
	}
	want := "f"
	if encrypted {
		want = "t"
	}
	if got := sql(nil, "select ssl from pg_stat_ssl where pid = pg_backend_pid()"); got != want {
		t.Errorf("encrypted: %q, want %q", got, want)
	}
	// 3 MB in, and out again.
	var rows strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&rows, "%d\t%x\n", i, testrig.Payload(24))
	}
	got := sql([]byte(rows.String()), "create temporary table t (i int, x text)", "copy t from stdin",
		"copy (select * from t order by i) to stdout")
	if got+"\n" != rows.String() {
		t.Errorf("%d bytes copied in came out as %d other bytes", rows.Len(), len(got))
	}
	var clients []string
	for i := range 8 {
		clients = append(clients, fmt.Sprintf("select %d", i))
	}
	if got := sql(nil, clients...); got != "0\n1\n2\n3\n4\n5\n6\n7" {
		t.Errorf("eight queries are answered with %q", got)
	}
}
