package config

import (
	"net"
	"strings"
	"testing"
)

// Each line to a target that was one of linesplit's own listeners went round for ever.
func TestTargetThatIsAnOwnListener(t *testing.T) {
	loop, admin := "linesplit itself listens there", "that is the -admin listener"
	for _, test := range []struct{ args, want string }{
		{"-target 127.0.0.1:9000", loop}, // the default listener
		{"-target localhost:9000", loop},
		{"-target [::1]:9000", loop},
		{"-target 0.0.0.0:9000", loop},
		{"-target :9000", loop},
		{"-listen :9000 -target 127.0.0.1:9000", loop},
		{"-listen 127.0.0.1:9000 -target localhost:9000", loop},
		{"-listen 127.0.0.1:9000 -target 127.0.0.2:9000", ""},
		{"-listen 127.0.0.1:9000 -target 127.0.0.1:9001", ""},
		{"-listen unix:///tmp/x.sock?mode=0600 -target unix:///tmp//x.sock", loop},
		{"-listen http://:8080/in -target http://127.0.0.1:8080/other", loop},
		{"-listen http://127.0.0.1:8080/in -target localhost:8080", loop},
		{"-listen http://127.0.0.1:8080 -target http://127.0.0.1:8081", ""},
		{"-admin 127.0.0.1:8080 -listen http://:8080/in", `the listener http://:8080/in has that address`},
		{"-listen unix://@x -target unix://@y", ""},
		{"-listen 127.0.0.1:0 -target 127.0.0.1:9000", ""},
		{"-listen udp://:514 -target 127.0.0.1:514", ""},
		{"-mode connection -listen udp://:514 -target udp://127.0.0.1:514", loop},
		{"-admin 127.0.0.1:9091 -target 127.0.0.1:9091", admin},
		{"-admin unix:///tmp/x.sock -target unix:///tmp/x.sock", admin},
		{"-admin 127.0.0.1:9000", `-admin "127.0.0.1:9000": the listener tcp://:9000 has that address`},
		{"-admin [::1]:9000", `the listener tcp://:9000 has that address`},
		{"-admin 0.0.0.0:9000 -listen 127.0.0.1:9000", `has that address`},
		{"-admin [::1]:9000 -listen 0.0.0.0:9000", ""},
		{"-admin 127.0.0.1:9000 -listen udp://:9000", ""},
		{"-admin 127.0.0.1:9000 -listen 127.0.0.1:9000", `-admin "127.0.0.1:9000": the listener tcp://127.0.0.1:9000 has that address`},
		{"-target example.com:9000", ""}, // may be anything: nothing is looked up
		{"-target " + ownAddress(t) + " -port 9", ""},
		{"-target " + ownAddress(t), loop},
	} {
		clearEnv(t)
		_, err := Parse(strings.Fields(test.args))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.args, err, test.want)
		}
	}
	c := mustParse(t)
	if _, err := c.ParseTarget("127.0.0.1:9000"); err == nil || !strings.Contains(err.Error(), loop) {
		t.Errorf("added by hand: %v", err)
	}
}

// ownAddress returns port 9000 of an address of this machine, other than loopback if there is one.
func ownAddress(t *testing.T) string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip := a.(*net.IPNet).IP; ip.To4() != nil && !ip.IsLoopback() {
			return net.JoinHostPort(ip.String(), "9000")
		}
	}
	return "127.0.0.1:9000"
}

// A misspelt variable was silently ignored. Those of Kubernetes' service links are not linesplit's.
func TestMisspeltVariables(t *testing.T) {
	clearEnv(t)
	t.Setenv("LINESPLIT_MAX_LINES", "2MiB")
	t.Setenv("LINESPLIT_FROBNICATE", "1")
	t.Setenv("LINESPLIT_EMPTY", "")
	t.Setenv("LINESPLIT_VERSION", "1.2.3")
	t.Setenv("LINESPLIT_QUEUE", "7")
	t.Setenv("LINESPLIT_SERVICE_HOST", "10.0.0.1")
	t.Setenv("LINESPLIT_SERVICE_PORT_LINES", "9000")
	t.Setenv("LINESPLIT_PORT_9000_TCP_ADDR", "10.0.0.1")
	t.Setenv("LINESPLIT_ADMIN_PORT", "tcp://10.0.0.1:9091")
	got := strings.Join(mustParse(t).Warnings, "\n")
	want := `the environment variable "LINESPLIT_FROBNICATE" sets nothing
the environment variable "LINESPLIT_MAX_LINES" sets nothing: did you mean LINESPLIT_MAX_LINE?`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The service started without a warning, and LINESPLIT_HELP was called a misspelt LINESPLIT_HELP.
// A variable that images set to their version is not meant for -version.
func TestVariablesOfFlagsThatAreNoSettings(t *testing.T) {
	clearEnv(t)
	t.Setenv("LINESPLIT_CHECK", "true")
	t.Setenv("LINESPLIT_HELP", "1")
	t.Setenv("LINESPLIT_T", "false")
	t.Setenv("LINESPLIT_VERSION", "1.2.3")
	got := strings.Join(mustParse(t).Warnings, "\n")
	want := `the environment variable "LINESPLIT_CHECK" sets nothing: -check is for the command line only
the environment variable "LINESPLIT_HELP" sets nothing: -help is for the command line only
the environment variable "LINESPLIT_T" sets nothing: -t is for the command line only`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	t.Setenv("LINESPLIT_VERSION", "true")
	if got := strings.Join(mustParse(t).Warnings, "\n"); !strings.HasSuffix(got, ": -version is for the command line only") {
		t.Error(got)
	}
}

// The API accepted a target that no listener led to, and that a file could not have named.
func TestNoListenerLeadsToAnAddedTarget(t *testing.T) {
	for _, test := range []struct{ args, target, want string }{
		{"-mode connection -target a:1", "udp://b:1", "no listener leads to it: it needs a udp:// listener"},
		{"-mode connection -target udp://a:1 -listen udp://:9000", "b:1", "it needs a tcp://, tls:// or unix:// listener"},
		{"-mode connection -target udp://a:1,a:1 -listen udp://:9000,:9000", "udp://b:1", ""},
	} {
		clearEnv(t)
		c := mustParse(t, strings.Fields(test.args)...)
		_, err := c.ParseTarget(test.target)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: add %s: %v, want %q", test.args, test.target, err, test.want)
		}
	}
}
