//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// badInput is a command line with a configuration error.
type badInput struct {
	name string
	args []string
	want []string // parts of the error: the flag, its value, and what to write instead
}

// Configuration errors are found before anything listens, and say what to write instead.
func TestBadInputIsRefusedWithAClearError(t *testing.T) {
	t.Parallel()
	for _, test := range badInputs(t) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			free := testrig.FreeHostPort(t)
			args := test.args
			if !strings.Contains(strings.Join(args, " "), "-listen") && args[0] != "-port" {
				args = append(free.Flags(), args...)
			}
			p := testrig.StartProcess(t, testrig.ProcessOptions{Args: args})
			listened := false
			testrig.WaitFor(t, "linesplit refuses to start", func() bool {
				listened = listened || free.Listening()
				return p.Ended()
			})
			if listened {
				t.Error("linesplit listened")
			}
			test.expectError(t, p)
		})
	}
}

// expectError checks that linesplit has ended with the error, and has not listened.
func (b badInput) expectError(t *testing.T, p *testrig.Process) {
	t.Helper()
	if code := p.Wait(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if strings.Contains(p.Stderr(), "listening") {
		t.Error("linesplit listened")
	}
	testrig.ExpectContains(t, p.Stderr(), b.want...)
}

// badInputs returns errors in flags of line mode, and in those of both modes.
func badInputs(t *testing.T) []badInput {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	missing := filepath.Join(dir, "missing.pem")
	notPEM := file("not.pem", "not a certificate\n")
	badKey := file("bad.conf", "connections 2\nnonsense-key 1\n")
	unixIn := filepath.Join(dir, "no", "such", "directory", "in.sock")
	return []badInput{
		{"unknown flag", []string{"-nonsense", "1"}, []string{"-nonsense", "unknown"}},
		{"bad size", []string{"-buffer", "16XB"}, []string{"-buffer", "16XB", "16KiB"}},
		{"bad duration", []string{"-dial-timeout", "soon"}, []string{"-dial-timeout", "soon", "30s"}},
		{"duration without unit", []string{"-stall-timeout", "30"}, []string{"-stall-timeout", "30", "30s"}},
		{"port out of range", []string{"-port", "70000"}, []string{"-port", "70000", "65535"}},
		{"listener's port out of range", []string{"-listen", "tcp://127.0.0.1:70000"},
			[]string{"-listen", "70000", "65535"}},
		{"target's port out of range", []string{"-target", "10.0.0.1:70000"}, []string{"-target", "70000", "65535"}},
		{"target without port", []string{"-target", "10.0.0.1"}, []string{"-target", "10.0.0.1", "port"}},
		{"duplicate target", []string{"-target", "10.0.0.1:9999,tcp://10.0.0.1:9999"},
			[]string{"-target", "10.0.0.1:9999", "twice"}},
		{"empty target list", []string{"-target", ""}, []string{"-target", "10.0.0.1:9999"}},
		{"list of commas", []string{"-target", ","}, []string{"-target", "10.0.0.1:9999"}},
		{"cert without key", []string{"-tls-cert", testrig.Certs.ServerCert}, []string{"-tls-cert", "-tls-key"}},
		{"key without cert", []string{"-tls-key", testrig.Certs.ServerKey}, []string{"-tls-cert", "-tls-key"}},
		{"missing cert", []string{"-tls-cert", missing, "-tls-key", testrig.Certs.ServerKey},
			[]string{"-tls-cert", missing}},
		{"cert that is not PEM", []string{"-tls-cert", notPEM, "-tls-key", testrig.Certs.ServerKey},
			[]string{"-tls-cert", notPEM, "PEM"}},
		{"mismatched pair", []string{"-tls-cert", testrig.Certs.ServerCert, "-tls-key", testrig.Certs.MismatchedKey},
			[]string{"-tls-key", testrig.Certs.MismatchedKey, "match"}},
		{"mismatched pair for targets",
			[]string{"-tls-target", "-tls-target-cert", testrig.Certs.ClientCert, "-tls-target-key",
				testrig.Certs.MismatchedKey},
			[]string{"-tls-target-key", testrig.Certs.MismatchedKey, "match"}},
		{"missing authority", []string{"-tls-target", "-tls-target-ca", missing}, []string{"-tls-target-ca", missing}},
		{"unknown scheme of a listener", []string{"-listen", "sctp://127.0.0.1:9000"},
			[]string{"-listen", "sctp://127.0.0.1:9000", "tcp://"}},
		{"unknown scheme of a target", []string{"-target", "ftp://10.0.0.1:80"},
			[]string{"-target", "ftp://10.0.0.1:80", "tcp"}},
		{"unwritable Unix path", []string{"-listen", "unix://" + unixIn}, []string{"-listen", unixIn}},
		{"unknown key in the file", []string{"-config", badKey}, []string{"nonsense-key", badKey}},
		{"missing file", []string{"-config", missing}, []string{"-config", missing}},
		{"unknown policy", []string{"-oversize", "split"}, []string{"-oversize", "split", "drop", "truncate", "close"}},
		{"old TLS", []string{"-tls-min-version", "1.1"}, []string{"-tls-min-version", "1.1", "1.2"}},
		{"several at once", []string{"-buffer", "16XB", "-dial-timeout", "soon", "-target", "10.0.0.1", "-nonsense"},
			[]string{"-buffer", "16XB", "-dial-timeout", "soon", "-target", "10.0.0.1", "-nonsense"}},
	}
}

// Another program listens on the port. That is not a configuration error, because a restart later
// may succeed.
func TestBusyPortIsARuntimeErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	ln, err := testrig.ListenAlone()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	busy := ln.Addr().String()
	for name, args := range map[string][]string{
		"addr and port":   testrig.HostPort(busy).Flags(),
		"second listener": {"-listen", "tcp://127.0.0.1:0", "-listen", "tcp://" + busy},
		"admin":           {"-listen", "tcp://127.0.0.1:0", "-admin", busy},
	} {
		t.Run(name, func(t *testing.T) {
			p := testrig.StartProcess(t, testrig.ProcessOptions{Args: args})
			if code := p.Wait(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			testrig.ExpectContains(t, p.Stderr(), busy, "in use")
		})
	}
}

// noSuchFile is the path of a file that does not exist.
const noSuchFile = "/no/such/file"

// In connection mode too, configuration errors are found before anything listens.
func TestBadInputOfConnectionModeIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range badConnectionInputs {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := test.args
			if !slices.Contains(args, "-listen") {
				args = append([]string{"-listen", "tcp://127.0.0.1:0"}, args...)
			}
			test.expectError(t, testrig.StartProcess(t, testrig.ProcessOptions{Args: args}))
		})
	}
}

// forward returns arguments for connection mode.
func forward(args ...string) []string { return append(args, "-mode", "connection") }

// badConnectionInputs are errors in flags of connection mode, and in flags of the other mode.
var badConnectionInputs = []badInput{ // read-only
	{"unknown mode", []string{"-mode", "tcp"}, []string{"-mode", "tcp", "line", "connection"}},
	{"line-only flag", forward("-connections", "2"), []string{"-connections", "-mode line", "connection"}},
	{"line-only size", forward("-max-line", "2MiB"), []string{"-max-line", "-mode line"}},
	{"line-only policy", forward("-oversize", "drop"), []string{"-oversize", "-mode line"}},
	{"line-only timeout", forward("-write-timeout", "3s"), []string{"-write-timeout", "-mode line"}},
	{"connection-only flag", []string{"-balance", "random"}, []string{"-balance", "-mode connection"}},
	{"connection-only timeout", []string{"-linger-timeout", "3s"}, []string{"-linger-timeout", "-mode connection"}},
	{"connection-only limit", []string{"-udp-sessions", "5"}, []string{"-udp-sessions", "-mode connection"}},
	{"connection-only log", []string{"-access-log", "text"}, []string{"-access-log", "-mode connection"}},
	{"standard input", forward("-listen", "stdin:"), []string{"-listen", "stdin:", "-mode line"}},
	{"number of connections in connection mode", forward("-target", "10.0.0.1:9?connections=3"),
		[]string{"-target", "10.0.0.1:9", "?connections", "-mode line"}},
	{"weight and a number of connections", []string{"-target", "10.0.0.1:9?weight=3&connections=3"},
		[]string{"-target", "10.0.0.1:9", "connections", "weight", "leave out one"}},
	{"connection limit in line mode", []string{"-target", "10.0.0.1:9?max-connections=3"},
		[]string{"-target", "?max-connections", "-mode connection"}},
	{"header in line mode", []string{"-target", "10.0.0.1:9?proxy-protocol=v2"},
		[]string{"-target", "?proxy-protocol", "-mode connection"}},
	{"UDP target in line mode", []string{"-target", "udp://10.0.0.1:9"},
		[]string{"-target", "udp://10.0.0.1:9", "-mode connection"}},
	{"via-proxy in connection mode", forward("-target", "10.0.0.1:9?via-proxy=true"),
		[]string{"-target", "10.0.0.1:9", "?via-proxy", "-mode line"}},
	{"weight 0", forward("-target", "10.0.0.1:9?weight=0"), []string{"-target", "weight", "1"}},
	{"weight that is not a number", forward("-target", "10.0.0.1:9?weight=heavy"),
		[]string{"-target", "weight", "heavy"}},
	{"negative connection limit", forward("-target", "10.0.0.1:9?max-connections=-1"),
		[]string{"-target", "max-connections", "-1"}},
	{"unknown header", forward("-target", "10.0.0.1:9?proxy-protocol=v3"),
		[]string{"-target", "proxy-protocol", "v3", "v1", "v2"}},
	{"unknown option", forward("-target", "10.0.0.1:9?wait=3"), []string{"-target", "wait"}},
	{"header for datagrams", forward("-listen", "udp://127.0.0.1:0", "-target", "udp://10.0.0.1:9?proxy-protocol=v1"),
		[]string{"-target", "proxy-protocol", "udp"}},
	{"duplicate target", forward("-target", "10.0.0.1:9?weight=2,10.0.0.1:9?weight=3"),
		[]string{"-target", "10.0.0.1:9", "twice"}},
	{"UDP listener without target", forward("-listen", "udp://127.0.0.1:0", "-target", "10.0.0.1:9"),
		[]string{"udp://127.0.0.1:0", "udp:// target"}},
	{"UDP target without listener", forward("-target", "10.0.0.1:9,udp://10.0.0.1:8"),
		[]string{"-target", "udp://10.0.0.1:8", "listener"}},
	{"unknown rule", forward("-balance", "fastest"), []string{"-balance", "fastest", "round-robin", "source-hash"}},
	{"bad network", forward("-allow", "10.0.0.0/33"), []string{"-allow", "10.0.0.0/33"}},
	{"host bits", forward("-deny", "10.0.0.1/8"), []string{"-deny", "10.0.0.1/8", "10.0.0.0/8"}},
	{"network that is a name", forward("-proxy-protocol-from", "lan"), []string{"-proxy-protocol-from", "lan"}},
	{"bad network in line mode", []string{"-deny", "10.0.0.0/x"}, []string{"-deny", "10.0.0.0/x"}},
	{"bad rate", forward("-rate-per-client", "5/x"), []string{"-rate-per-client", "5/x", "5/s"}},
	{"rate 0", forward("-rate-per-client", "0"), []string{"-rate-per-client", "0", "5/s"}},
	{"bad action", forward("-on-target-down", "close"), []string{"-on-target-down", "close", "keep", "reset"}},
	{"bad log format", forward("-access-log", "xml"), []string{"-access-log", "xml", "text", "json"}},
	{"unknown check", forward("-health", "icmp"), []string{"-health", "icmp", "tcp", "redis"}},
	{"path of a TCP check", forward("-health", "tcp", "-health-path", "/"), []string{"-health-path", "http"}},
	{"path without a check", forward("-health-path", "/up"), []string{"-health-path", "http"}},
	{"path without a slash", forward("-health", "http", "-health-path", "up"), []string{"-health-path", "up", "/"}},
	{"bad status", forward("-health", "http", "-health-status", "fine"), []string{"-health-status", "fine", "200"}},
	{"status range in reverse", forward("-health", "http", "-health-status", "399-200"),
		[]string{"-health-status", "399-200"}},
	{"nothing to expect", forward("-health", "send-expect", "-health-send", "x"),
		[]string{"-health-expect", "send-expect"}},
	{"bad pattern", forward("-health", "send-expect", "-health-send", "x", "-health-expect", "("),
		[]string{"-health-expect", "("}},
	{"bad escape", forward("-health", "send-expect", "-health-send", `\q`, "-health-expect", "x"),
		[]string{"-health-send", `\q`}},
	{"pattern of a preset", forward("-health", "redis", "-health-expect", "x"),
		[]string{"-health-expect", "send-expect"}},
	{"no command", forward("-health", "exec"), []string{"-health-command", "exec"}},
	{"missing command", forward("-health", "exec", "-health-command", noSuchFile),
		[]string{"-health-command", noSuchFile}},
	{"command of another check", forward("-health", "tcp", "-health-command", "/bin/true"),
		[]string{"-health-command", "exec"}},
	{"rise 0", forward("-health-rise", "0"), []string{"-health-rise", "0", "1"}},
	{"bad interval", forward("-health", "tcp", "-health-interval", "5"), []string{"-health-interval", "5s"}},
	{"no UDP sessions", forward("-udp-sessions", "0"), []string{"-udp-sessions", "0"}},
	{"several at once", forward("-connections", "3", "-balance", "best", "-allow", "x", "-health", "ping", "-target",
		"a:1?weight=x"),
		[]string{"-connections", "-balance", "best", "-allow", "-health", "ping", "-target", "weight"}},
}
