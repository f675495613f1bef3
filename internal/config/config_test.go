package config

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linesplit/health"
	"linesplit/internal/flags"
	"linesplit/internal/testcert"
	"linesplit/relay"
	"linesplit/splitter"
	"linesplit/workerpool"
)

func TestDefaults(t *testing.T) {
	clearEnv(t)
	c := mustParse(t)
	if diff := cmp.Diff([]string{"tcp://:9000"}, names(c.Listen)); diff != "" {
		t.Error("listen", diff)
	}
	if diff := cmp.Diff([]string{"tcp://127.0.0.1:9999"}, names(c.Targets)); diff != "" {
		t.Error("target", diff)
	}
	c.Listen, c.Targets = nil, nil
	want := Config{
		Mode:        LineMode,
		DialTimeout: 5 * time.Second, DrainTimeout: 8 * time.Second,
		Health: health.Options{Interval: 5 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3},
		Buffer: 16 << 10, Queue: 32, Memory: 256 << 20, Connections: 4,
		Lines: splitter.Tuning{MaxLine: 1 << 20, Oversize: splitter.Drop, RecordLines: 1000, RecordWait: time.Second},
		Delivery: workerpool.Tuning{
			StallTimeout: 30 * time.Second, DeadTimeout: 30 * time.Second, FailbackInterval: 5 * time.Minute, FailbackProbe: 5 * time.Second,
			ResendMargin: 64 << 10, ResendMax: 8 << 20, ResendAge: 10 * time.Second, PeerLookup: true,
		},
		DeadLetterSize: 1 << 30,
		Balance:        "round-robin", Loops: runtime.GOMAXPROCS(0), AccessLog: "off",
		Forward: relay.Tuning{
			DialBudget: 5 * time.Second, LingerTimeout: time.Minute, QueueTimeout: 5 * time.Second,
			UDPIdleTimeout: 30 * time.Second, UDPSessions: 4096,
		},
		LogLevel: slog.LevelInfo, LogFormat: "text",
	}
	want.ServerTLS.MinVersion, want.TargetTLS.MinVersion, want.AdminTLS.MinVersion = 0x0303, 0x0303, 0x0303
	if c.Health.Check.Enabled() {
		t.Error("targets are checked")
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(health.Check{}, Config{}), cmpopts.IgnoreFields(Config{}, "Shown")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoops(t *testing.T) {
	clearEnv(t)
	for value, want := range map[string]int{"auto": processors, "0": 0, "3": 3} {
		if c := mustParse(t, "-loops", value); c.Loops != want {
			t.Errorf("-loops %s: %d, want %d", value, c.Loops, want)
		}
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
	c, err := ParseFlags([]string{"-listen", "tcp://127.0.0.1:0", "-queue", "7"})
	if err != nil || c.Queue != 7 {
		t.Errorf("queue %d, %v", c.Queue, err)
	}
	_, err = ParseFlags([]string{"-queue", "0", "-x"})
	checkErrors(t, err, []string{"unknown flag -x", `-queue "0"`})
}

// The settings that were shown did not tell whether -memory 64M was 64,000,000 bytes or 64 MiB.
func TestSizesAreShownWithOneMeaning(t *testing.T) {
	clearEnv(t)
	c := mustParse(t, "-memory", "64M", "-buffer", "32KiB")
	if memory, buffer := c.setting("memory").Value, c.setting("buffer").Value; memory != "64000000" || buffer != "32KiB" || c.Memory != 64e6 {
		t.Errorf("memory %s, which is %d bytes; buffer %s", memory, c.Memory, buffer)
	}
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
		if got := mustParse(t, test.args...).Delivery.StallTimeout; got != test.want {
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
		{[]string{"-port", "0"}, []string{"tcp://:0"}},
		{[]string{"-listen", ":9000,[::1]:9001"}, []string{"tcp://:9000", "tcp://[::1]:9001"}},
		{[]string{"-listen", "-"}, []string{"stdin:"}},
		{[]string{"-listen", "stdin"}, []string{"stdin:"}},
		{[]string{"-listen", "http://:8080/in?timeout=5s,http://127.0.0.1:0,http://127.0.0.1:0"},
			[]string{"http://:8080/in?timeout=5s", "http://127.0.0.1:0", "http://127.0.0.1:0"}},
		{append([]string{"-listen", "https://:8443"}, pair...), []string{"https://:8443"}},
		{[]string{"-addr", "::1"}, []string{"tcp://[::1]:9000"}},
		{[]string{"-addr", "[::1]"}, []string{"tcp://[::1]:9000"}},
		{[]string{"-addr", ""}, []string{"tcp://:9000"}},
		{[]string{"-addr", "0.0.0.0"}, []string{"tcp://0.0.0.0:9000"}},
		{[]string{"-addr", "localhost"}, []string{"tcp://localhost:9000"}},
		{pair, []string{"tls://:9000"}},
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
	if !c.ListensTLS() || !c.DialsTLS() {
		t.Errorf("TLS in %v, out %v", c.ListensTLS(), c.DialsTLS())
	}
	if s := c.ServerTLS; s.Cert != certs.ServerCert || s.Key != certs.ServerKey || s.ClientCA != certs.CA || s.MinVersion != 0x0304 {
		t.Errorf("listeners: %+v", s)
	}
	if s := c.TargetTLS; s.CA != certs.CA || s.Cert != certs.ClientCert || s.Key != certs.ClientKey || s.ServerName != "x" || !s.SkipVerify || s.MinVersion != 0x0304 {
		t.Errorf("targets: %+v", s)
	}
	if c := mustParse(t); c.ListensTLS() || c.DialsTLS() {
		t.Error("TLS without a TLS address")
	}
}

// FuzzParse checks that any command line and file give a valid configuration or errors, never a
// panic.
func FuzzParse(f *testing.F) {
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
		p, err := Parse(args)
		c := p.Config
		switch {
		case errors.Is(err, flag.ErrHelp), errors.Is(err, ErrVersion), errors.Is(err, ErrChecked):
		case err != nil:
			if errs, ok := errors.AsType[flags.Errors](err); !ok || len(errs) == 0 || errs.Error() == "" {
				t.Errorf("%q: %#v", args, err)
			}
		default:
			checkValid(t, c)
		}
	})
}

func checkValid(t *testing.T, c Config) {
	t.Helper()
	d := c.Delivery
	if len(c.Listen) == 0 || len(c.Targets) == 0 || c.Connections < 1 || c.Queue < 1 || c.Buffer < 512 || !c.MaxLineFits() ||
		d.ResendMargin > d.ResendMax ||
		min(c.DialTimeout, d.StallTimeout, d.DeadTimeout, d.ResendAge, c.DrainTimeout, d.FailbackInterval, d.FailbackProbe) <= 0 {
		t.Errorf("accepted %+v", c)
	}
}
