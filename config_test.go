package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linesplit/health"
	"linesplit/internal/testcert"
	"linesplit/splitter"
)

// clearEnv hides the settings of whoever runs the tests: an empty variable counts as unset.
func clearEnv(t testing.TB) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, envPrefix+"_") {
			t.Setenv(name, "")
		}
	}
}

func writeFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "linesplit.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustParse(t *testing.T, args ...string) config {
	t.Helper()
	c, err := parseConfig(args)
	if err != nil {
		t.Fatalf("parseConfig(%q): %v", args, err)
	}
	return c
}

// names are the listeners or the targets as people write them.
func names[T fmt.Stringer](values []T) (names []string) {
	for _, v := range values {
		names = append(names, v.String())
	}
	return names
}

func TestDefaults(t *testing.T) {
	clearEnv(t)
	c := mustParse(t)
	if diff := cmp.Diff([]string{"tcp://0.0.0.0:9000"}, names(c.Listen)); diff != "" {
		t.Error("listen", diff)
	}
	if diff := cmp.Diff([]string{"tcp://127.0.0.1:9999"}, names(c.Targets)); diff != "" {
		t.Error("target", diff)
	}
	c.Listen, c.Targets = nil, nil
	want := config{
		Connections: 4, DialTimeout: 5 * time.Second, FailbackInterval: 5 * time.Minute,
		Buffer: 16 << 10, MaxLine: 1 << 20, Oversize: splitter.Drop, Queue: 32, Memory: 256 << 20,
		StallTimeout: 30 * time.Second, DeadTimeout: 30 * time.Second,
		ResendMargin: 64 << 10, ResendMax: 8 << 20, ResendAge: 10 * time.Second, DrainTimeout: 8 * time.Second,
		LogLevel: slog.LevelInfo, LogFormat: "text",
		Mode:   lineMode,
		Health: checking{Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3},
		Forward: forwarding{
			Balance: "round-robin", DialBudget: 5 * time.Second, LingerTimeout: time.Minute, QueueTimeout: 5 * time.Second,
			UDPIdleTimeout: 30 * time.Second, UDPSessions: 4096, AccessLog: "off",
		},
	}
	want.ServerTLS.MinVersion, want.TargetTLS.MinVersion, want.AdminTLS.MinVersion = 0x0303, 0x0303, 0x0303
	if c.Health.Check.Enabled() {
		t.Error("targets are checked")
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(health.Check{}, config{}), cmpopts.IgnoreFields(config{}, "Shown")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBadInput(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	for _, test := range []struct {
		name string
		args []string
		want []string // one for each error, in order
	}{
		{"unknown flag", []string{"-prot", "9000"}, []string{"unknown flag -prot: did you mean -port?"}},
		{"unknown flag, nothing like it", []string{"--frobnicate=1"}, []string{"unknown flag -frobnicate"}},
		{"unknown flag with a negative value", []string{"-x", "-port", "1"}, []string{"unknown flag -x"}},
		{"no flag", []string{"---port"}, []string{`"---port" is no flag`}},
		{"flag without value", []string{"-port"}, []string{"-port needs a value"}},
		{"argument", []string{"serve", "-port", "1"}, []string{`unexpected argument "serve"`}},
		{"argument behind a boolean", []string{"-tls-target", "false", "-tls-target=0"}, []string{`unexpected argument "false": a flag that is true or false takes its value with =`}},
		{"argument behind --", []string{"--", "x"}, []string{`unexpected argument "x"`}},

		{"size", []string{"-buffer", "16XB"}, []string{`-buffer "16XB": no size: write bytes such as 16384, or 16KiB`}},
		{"empty size", []string{"-buffer="}, []string{`-buffer "": no size`}},
		{"negative size", []string{"-memory", "-1MiB"}, []string{`-memory "-1MiB": no size`}},
		{"size with a comma", []string{"-max-line", "1,5MiB"}, []string{`-max-line "1,5MiB": no size`}},
		{"size beyond int64", []string{"-memory", "8EiB"}, []string{`-memory "8EiB": no size`}},
		{"size beyond uint64", []string{"-memory", "99999999999999999999EiB"}, []string{`no size`}},
		{"zero size", []string{"-max-line", "0"}, []string{`-max-line "0": out of bounds: write a size from 16B to 1GiB`}},
		{"small buffer", []string{"-buffer", "511"}, []string{`-buffer "511": out of bounds: write a size from 512B to 1MiB`}},
		{"large buffer", []string{"-buffer", "1048577"}, []string{`-buffer "1048577": out of bounds`}},
		{"line beyond a quarter of memory", []string{"-memory", "4MiB", "-max-line", "1048577"}, []string{`-max-line "1048577": must be at most a quarter of -memory, which is 4MiB`}},
		{"margin beyond its cap", []string{"-resend-margin", "2MiB", "-resend-max", "1MiB"}, []string{`-resend-margin "2MiB": must be at most -resend-max, which is 1MiB`}},

		{"duration", []string{"-stall-timeout", "soon"}, []string{`-stall-timeout "soon": no duration: write 500ms, 30s`}},
		{"duration without unit", []string{"-dial-timeout", "5"}, []string{`-dial-timeout "5": no unit: write 5s or 5ms`}},
		{"empty duration", []string{"-resend-age="}, []string{`-resend-age "": no duration`}},
		{"zero drain", []string{"-drain-timeout", "0"}, []string{`-drain-timeout "0": out of bounds`}},
		{"negative duration", []string{"-failback-interval", "-5m"}, []string{`-failback-interval "-5m": out of bounds`}},
		{"long duration", []string{"-dead-timeout", "9000h"}, []string{`-dead-timeout "9000h": out of bounds`}},
		{"older name", []string{"-write-timeout", "x"}, []string{`-write-timeout "x": no duration`}},

		{"port out of range", []string{"-port", "65536"}, []string{`-port "65536": no port: write a number from 0 to 65535`}},
		{"negative port", []string{"-port", "-1"}, []string{`-port "-1": no port`}},
		{"named port", []string{"-port", "http"}, []string{`-port "http": no port`}},
		{"addr with port", []string{"-addr", "0.0.0.0:9000"}, []string{`-addr "0.0.0.0:9000": neither a host name nor an IP address: the port has a flag of its own, -port`}},
		{"addr with scheme", []string{"-addr", "tcp//x"}, []string{`-addr "tcp//x": neither`}},
		{"number", []string{"-connections", "many"}, []string{`-connections "many": write a whole number from 1 to 1024`}},
		{"no connections", []string{"-connections", "0"}, []string{`-connections "0"`}},
		{"no queue", []string{"-queue", "0"}, []string{`-queue "0": write a whole number from 1 to 1048576`}},
		{"negative senders", []string{"-max-connections", "-1"}, []string{`-max-connections "-1"`}},
		{"policy", []string{"-oversize", "keep"}, []string{`-oversize "keep": `}},
		{"level", []string{"-log-level", "loud"}, []string{`-log-level "loud": write debug, info, warn or error`}},
		{"format", []string{"-log-format", "xml"}, []string{`-log-format "xml": write text or json`}},
		{"admin", []string{"-admin", "9091"}, []string{`-admin "9091": write 127.0.0.1:9091`}},
		{"admin port", []string{"-admin", ":99999"}, []string{`-admin ":99999": write 127.0.0.1:9091`}},

		{"target without port", []string{"-target", "10.0.0.1"}, []string{`-target "10.0.0.1": "10.0.0.1" is not host:port`}},
		{"target port out of range", []string{"-target", "10.0.0.1:70000"}, []string{`-target "10.0.0.1:70000": `}},
		{"target scheme", []string{"-target", "sctp://10.0.0.1:1"}, []string{`-target "sctp://10.0.0.1:1": unknown scheme "sctp"`}},
		{"duplicate target", []string{"-target", "a:1,b:1", "-target", "tcp://A:1?via-proxy=true"}, []string{`-target "tcp://A:1?via-proxy=true": given twice`}},
		{"no target", []string{"-target", ""}, []string{`-target "": no target`}},
		{"only commas", []string{"-target", " , "}, []string{`no target`}},
		{"stray comma", []string{"-target", "a:1,"}, []string{`-target "a:1,": an empty entry: one comma too many?`}},
		{"two bad targets", []string{"-target", "a,b"}, []string{`-target "a": `, `-target "b": `}},

		{"listen scheme", []string{"-listen", "sctp://:1"}, []string{`-listen "sctp://:1": unknown scheme "sctp"`}},
		{"listen without scheme", []string{"-listen", ":9000"}, []string{`-listen ":9000": `}},
		{"listen twice", []string{"-listen", "tcp://:9000,tls://:9000", "-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}, []string{`-listen "tls://:9000": given twice`}},
		{"stdin twice", []string{"-listen", "stdin:", "-listen", "stdin:"}, []string{`-listen "stdin:": given twice`}},
		{"empty listen", []string{"-listen", ""}, []string{`-listen "": no listener`}},
		{"listen and addr and port", []string{"-listen", "tcp://:1", "-addr", "::", "-port", "2"}, []string{
			`-addr "::": -listen takes the place of -addr and -port`, `-port "2": -listen takes the place of -addr and -port`}},
		{"unwritable unix path", []string{"-listen", "unix:///nonexistent/dir/x.sock"}, []string{`-listen "unix:///nonexistent/dir/x.sock": directory /nonexistent/dir: no such file or directory`}},
		{"unix path taken", []string{"-listen", "unix://" + certs.CA}, []string{`is a file, not a socket`}},

		{"cert without key", []string{"-tls-cert", certs.ServerCert}, []string{`needs -tls-key too`}},
		{"key without cert", []string{"-tls-key", certs.ServerKey}, []string{`needs -tls-cert too`}},
		{"unreadable pair", []string{"-tls-cert", "/nonexistent/c", "-tls-key", "/nonexistent/k"}, []string{
			"-tls-cert, -tls-key, -tls-client-ca: tls server certificate /nonexistent/c: no such file",
			"-tls-cert, -tls-key, -tls-client-ca: tls server key /nonexistent/k: no such file"}},
		{"mismatched pair", []string{"-tls-cert", certs.ServerCert, "-tls-key", certs.ClientKey}, []string{certs.ClientKey}},
		{"certificate that is none", []string{"-tls-cert", certs.ServerKey, "-tls-key", certs.ServerKey}, []string{certs.ServerKey}},
		{"tls listener without cert", []string{"-listen", "tls://:1"}, []string{`-listen "tls://:1": a tls:// listener needs -tls-cert and -tls-key`}},
		{"cert without tls listener", []string{"-listen", "tcp://:1", "-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}, []string{`no listener speaks TLS`}},
		{"client authority without cert", []string{"-tls-client-ca", certs.CA}, []string{`of use only with -tls-cert and -tls-key`}},
		{"tls version", []string{"-tls-min-version", "1.1"}, []string{`-tls-min-version "1.1": TLS 1.1 is broken`}},
		{"target cert without key", []string{"-tls-target", "-tls-target-cert", certs.ClientCert}, []string{`needs -tls-target-key too`}},
		{"unreadable target authority", []string{"-tls-target", "-tls-target-ca", "/nonexistent/ca"}, []string{"tls target CA /nonexistent/ca: no such file"}},
		{"tls options without tls target", []string{"-tls-target-ca", certs.CA, "-tls-target-server-name", "x", "-tls-target-skip-verify"}, []string{
			"-tls-target-ca", `-tls-target-server-name "x": no target speaks TLS`, "-tls-target-skip-verify"}},
		{"tls target in vain", []string{"-tls-target", "-target", "tcp://a:1"}, []string{`-tls-target "true": every target names another scheme`}},
		{"boolean", []string{"-tls-target=maybe"}, []string{`-tls-target "maybe": write true or false`}},

		{"no file", []string{"-config", "/nonexistent/conf"}, []string{`-config "/nonexistent/conf": open /nonexistent/conf: no such file`}},
		{"endless file", []string{"-config", "/dev/zero"}, []string{`-config "/dev/zero": more than 1048576 bytes`}},
		{"directory for a file", []string{"-config", "/"}, []string{`-config "/": read /: is a directory`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			_, err := parseConfig(test.args)
			checkErrors(t, err, test.want)
		})
	}
}

// checkErrors wants the errors that hold the texts, and no others.
func checkErrors(t *testing.T, err error, want []string) {
	t.Helper()
	errs, _ := errors.AsType[configErrors](err)
	if len(errs) != len(want) {
		t.Fatalf("%d errors, want %d:\n%v", len(errs), len(want), err)
	}
	for i := range want {
		if !strings.Contains(errs[i].Error(), want[i]) {
			t.Errorf("error %d:\n%s\nwant it to hold:\n%s", i, errs[i], want[i])
		}
	}
}

func TestBadFile(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "prot 9000\n", `unknown key "prot" in the file FILE: did you mean port?`},
		{"key written as a flag", "-port 9000", `unknown key "-port" in the file FILE: did you mean port?`},
		{"equals sign", "port=9000", `put a space between key and value`},
		{"tab", "port\t9000", `put a space between key and value`},
		{"no value", "port", `key "port" without a value in the file FILE`},
		{"file in a file", "config /etc/x", `misplaced key "config"`},
		{"bad value", "port 70000 # high", `-port "70000" from the file FILE: no port`},
		{"long line", "# " + strings.Repeat("x", 64<<10) + "\nprot 1\n", `line 1 has 65538 bytes: 65535 are the most`},
	} {
		t.Run(test.name, func(t *testing.T) {
			clearEnv(t)
			file := writeFile(t, test.text)
			_, err := parseConfig([]string{"-config", file})
			checkErrors(t, err, []string{strings.ReplaceAll(test.want, "FILE", file)})
		})
	}
}

// A key in the longest line that may be must not be taken for the end of the file.
func TestLongestLineOfFile(t *testing.T) {
	clearEnv(t)
	comment := "#" + strings.Repeat("x", maxFileLine-1)
	if c := mustParse(t, "-config", writeFile(t, comment+"\nqueue 7")); c.Queue != 7 {
		t.Errorf("queue %d", c.Queue)
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	clearEnv(t)
	t.Setenv("LINESPLIT_BUFFER", "1XB")
	t.Setenv("LINESPLIT_PORT", "tcp://10.0.0.1:9000")
	file := writeFile(t, "max-line 9GiB\nfrobnicate 1\n")
	_, err := parseConfig([]string{"-prot", "1", "-queue", "0", "-config", file, "x"})
	checkErrors(t, err, []string{
		"unknown flag -prot",
		`unexpected argument "x"`,
		`unknown key "frobnicate" in the file ` + file,
		`-buffer "1XB" from the environment variable LINESPLIT_BUFFER`,
		`-max-line "9GiB" from the file ` + file,
		`-queue "0"`,
		`Kubernetes sets this variable for a Service named linesplit`,
	})

	var stdout, stderr bytes.Buffer
	if code := explain(err, &stdout, &stderr); code != 2 || stdout.Len() > 0 {
		t.Errorf("exit code %d, stdout %q", code, &stdout)
	}
	text := stderr.String()
	if !strings.HasPrefix(text, "linesplit: 7 errors in the configuration:\n  unknown flag -prot") ||
		!strings.HasSuffix(text, "\nrun linesplit -help for all flags\n") {
		t.Errorf("stderr:\n%s", text)
	}
}

func TestPrecedence(t *testing.T) {
	clearEnv(t)
	file := writeFile(t, "# a comment\n\nqueue 1\nLINESPLIT_CONNECTIONS 1\nmemory 64MiB # and one behind a value\ntarget f:1\ntarget f:2,f:3\ntls-target\n")
	t.Setenv("LINESPLIT_CONFIG", file)
	t.Setenv("LINESPLIT_QUEUE", "2")
	t.Setenv("LINESPLIT_CONNECTIONS", "2")
	t.Setenv("LINESPLIT_MEMORY", "") // counts as unset

	c := mustParse(t, "-queue", "3", "-queue", "4")
	if c.Queue != 4 || c.Connections != 2 || c.Memory != 64<<20 {
		t.Errorf("queue %d (want the last flag, 4), connections %d (want the environment's 2), memory %d (want the file's 64 MiB)",
			c.Queue, c.Connections, c.Memory)
	}
	if diff := cmp.Diff([]string{"tls://f:1", "tls://f:2", "tls://f:3"}, names(c.Targets)); diff != "" {
		t.Error("targets of the file", diff)
	}

	t.Setenv("LINESPLIT_TARGET", "e:1,e:2")
	if diff := cmp.Diff([]string{"tls://e:1", "tls://e:2"}, names(mustParse(t).Targets)); diff != "" {
		t.Error("targets of the environment", diff)
	}
	c = mustParse(t, "-target", "a:1, b:1", "-target=tcp://c:1", "-tls-target=false")
	if diff := cmp.Diff([]string{"tcp://a:1", "tcp://b:1", "tcp://c:1"}, names(c.Targets)); diff != "" {
		t.Error("targets of the flags", diff)
	}
}

func TestParseFlagsLooksNowhereElse(t *testing.T) {
	clearEnv(t)
	t.Setenv("LINESPLIT_CONFIG", "/nonexistent")
	t.Setenv("LINESPLIT_PORT", "tcp://10.0.0.1:9000")
	c, err := parseFlags([]string{"-listen", "tcp://127.0.0.1:0", "-queue", "7"})
	if err != nil || c.Queue != 7 {
		t.Errorf("queue %d, %v", c.Queue, err)
	}
	_, err = parseFlags([]string{"-queue", "0", "-x"})
	checkErrors(t, err, []string{"unknown flag -x", `-queue "0"`})
}

func TestStallTimeoutAndItsOlderName(t *testing.T) {
	for _, test := range []struct {
		env  string // of -stall-timeout
		args []string
		want time.Duration
	}{
		{"", nil, 30 * time.Second},
		{"", []string{"-write-timeout", "1s"}, time.Second},
		{"", []string{"-stall-timeout", "2s"}, 2 * time.Second},
		{"", []string{"-stall-timeout", "2s", "-write-timeout", "1s"}, 2 * time.Second},
		{"3s", []string{"-write-timeout", "1s"}, 3 * time.Second},
	} {
		clearEnv(t)
		t.Setenv("LINESPLIT_STALL_TIMEOUT", test.env)
		if got := mustParse(t, test.args...).StallTimeout; got != test.want {
			t.Errorf("LINESPLIT_STALL_TIMEOUT=%s %q: %v, want %v", test.env, test.args, got, test.want)
		}
	}
}

func TestListeners(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	pair := []string{"-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-port", "0"}, []string{"tcp://0.0.0.0:0"}},
		{[]string{"-addr", "::1"}, []string{"tcp://[::1]:9000"}},
		{[]string{"-addr", "[::1]"}, []string{"tcp://[::1]:9000"}},
		{[]string{"-addr", ""}, []string{"tcp://:9000"}},
		{[]string{"-addr", "localhost"}, []string{"tcp://localhost:9000"}},
		{pair, []string{"tls://0.0.0.0:9000"}},
		{append([]string{"-listen", "tls://:1", "-listen", "tcp://:2,stdin:"}, pair...), []string{"tls://:1", "tcp://:2", "stdin:"}},
		{[]string{"-listen", "tcp://127.0.0.1:0,tcp://127.0.0.1:0"}, []string{"tcp://127.0.0.1:0", "tcp://127.0.0.1:0"}},
	} {
		clearEnv(t)
		if diff := cmp.Diff(test.want, names(mustParse(t, test.args...).Listen)); diff != "" {
			t.Errorf("%q: %s", test.args, diff)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	clearEnv(t)
	certs := testcert.New(t, t.TempDir())
	c := mustParse(t, "-tls-cert", certs.ServerCert, "-tls-key", certs.ServerKey, "-tls-client-ca", certs.CA, "-tls-min-version", "1.3",
		"-target", "a:1,tls://b:1", "-tls-target-ca", certs.CA, "-tls-target-cert", certs.ClientCert, "-tls-target-key", certs.ClientKey,
		"-tls-target-server-name", "x", "-tls-target-skip-verify")
	if !c.listensTLS() || !c.dialsTLS() {
		t.Errorf("TLS in %v, out %v", c.listensTLS(), c.dialsTLS())
	}
	if s := c.ServerTLS; s.Cert != certs.ServerCert || s.Key != certs.ServerKey || s.ClientCA != certs.CA || s.MinVersion != 0x0304 {
		t.Errorf("listeners: %+v", s)
	}
	if s := c.TargetTLS; s.CA != certs.CA || s.Cert != certs.ClientCert || s.Key != certs.ClientKey || s.ServerName != "x" || !s.SkipVerify || s.MinVersion != 0x0304 {
		t.Errorf("targets: %+v", s)
	}
	if c := mustParse(t); c.listensTLS() || c.dialsTLS() {
		t.Error("TLS that nobody asked for")
	}
}

func TestParseSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want int64 // -1: an error
	}{
		{"0", 0}, {"16384", 16384}, {"16KiB", 16384}, {"16 kib", 16384}, {"64KB", 64000}, {"1.5MiB", 3 << 19}, {"1MiB", 1 << 20},
		{"9223372036854775807", math.MaxInt64}, {"9223372036854775808", -1},
		{"", -1}, {"-1", -1}, {"KiB", -1}, {".", -1}, {"1.2.3", -1}, {"1e3", -1}, {"0x10", -1}, {"1,000", -1}, {"NaN", -1}, {"Inf", -1}, {"٣", -1},
	} {
		got, err := parseSize(test.text)
		if err != nil {
			got = -1
		}
		if got != test.want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", test.text, got, err, test.want)
		}
	}
}

func TestHelp(t *testing.T) {
	clearEnv(t)
	for _, args := range [][]string{{"-help"}, {"-h"}, {"--help"}, {"-port", "x", "-bad", "-help"}} {
		_, err := parseConfig(args)
		var stdout, stderr bytes.Buffer
		if code := explain(err, &stdout, &stderr); !errors.Is(err, flag.ErrHelp) || code != 0 || stderr.Len() > 0 {
			t.Fatalf("%q: %v, exit code %d, stderr %q", args, err, code, &stderr)
		}
		checkHelp(t, stdout.String())
	}
}

func checkHelp(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if len(line) > 101 {
			t.Errorf("more than 100 columns: %q", line)
		}
	}
	at := 0 // groups come in order, and each flag in its group
	for _, want := range []string{groupInbound, groupTargets, groupDelivery, groupTLS, groupLimits, groupEnd, groupObserve, groupOther, "Examples:"} {
		i := strings.Index(text, "\n"+want)
		if i < at {
			t.Errorf("%q is not where it belongs", want)
		}
		at = i
	}
	for _, o := range options() {
		if !strings.Contains(text, "\n  -"+o.name+" ") || !strings.Contains(text, "(default "+o.value+")") && o.value != "" {
			t.Errorf("-%s or its default is missing", o.name)
		}
	}
	for _, command := range []string{"linesplit demo", "linesplit healthcheck"} {
		if !strings.Contains(text, command) {
			t.Errorf("no %s", command)
		}
	}
}

func TestVersion(t *testing.T) {
	clearEnv(t)
	t.Setenv("LINESPLIT_VERSION", "1.2.3") // images have such variables, and mean something else by them
	mustParse(t)

	_, err := parseConfig([]string{"-version", "-port", "x"})
	var stdout, stderr bytes.Buffer
	if code := explain(err, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("%v, exit code %d, stderr %q", err, code, &stderr)
	}
	if text := stdout.String(); !strings.HasPrefix(text, "linesplit ") || !strings.Contains(text, " (go1.") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %q", text)
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"port", "port", 0}, {"port", "prt", 1}, {"port", "prot", 2}, {"port", "ports", 1}, {"addr", "xddr", 1}, {"a", "abcd", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if a, b := distance(test.a, test.b), distance(test.b, test.a); a != b {
			t.Errorf("distance(%q, %q): %d one way, %d the other", test.a, test.b, a, b)
		}
	}
}

// Whatever is on the command line and in the file, the answer is a valid configuration or errors, never a panic.
func FuzzParseConfig(f *testing.F) {
	f.Add("-port\n9000\n-target\na:1,b:2", "queue 5\n")
	f.Add("-prot\n---x\n-listen\nstdin:,tcp://:0\n-tls-target\ntrue", "max-line 1XB\nport\t5\n\x00")
	f.Add("--\n-\n-=\n-buffer=1,5MiB\n-help", "target ,,\ntls-target")
	file := filepath.Join(f.TempDir(), "conf")
	clearEnv(f)
	f.Fuzz(func(t *testing.T, lines, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-config", file}, strings.Split(lines, "\n")...)
		c, err := parseConfig(args)
		switch {
		case errors.Is(err, flag.ErrHelp), errors.Is(err, errVersion):
		case err != nil:
			if errs, ok := errors.AsType[configErrors](err); !ok || len(errs) == 0 || errs.Error() == "" {
				t.Errorf("%q: %#v", args, err)
			}
		default:
			checkValid(t, c)
		}
	})
}

func checkValid(t *testing.T, c config) {
	t.Helper()
	if len(c.Listen) == 0 || len(c.Targets) == 0 || c.Connections < 1 || c.Queue < 1 || c.Buffer < 512 || c.MaxLine > c.Memory/4 ||
		c.ResendMargin > c.ResendMax || min(c.DialTimeout, c.StallTimeout, c.DeadTimeout, c.ResendAge, c.DrainTimeout, c.FailbackInterval) <= 0 {
		t.Errorf("accepted %+v", c)
	}
}
