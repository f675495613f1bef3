//go:build linux

package testrig

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// ownNetworkEnv names, in a process that has a network of its own, the test that runs there.
	ownNetworkEnv = "RIG_OWN_NETWORK"
	// programEnv tells that process the path of the program under test.
	programEnv = "RIG_PROGRAM"
)

// OwnNetwork is a network that a test has to itself, with a loopback device alone.
type OwnNetwork struct {
	ResolvConf string   // what /etc/resolv.conf says there
	Addresses  []string // of the device, beside 127.0.0.0/8 and ::1
}

// Run runs test in the network: it starts this test binary again in a namespace, for the test that
// calls Run alone, and reports how that ends. It skips the test where it lacks the right to do so.
func (n OwnNetwork) Run(t *testing.T, test func(*testing.T)) {
	t.Helper()
	if os.Getenv(ownNetworkEnv) == t.Name() {
		test(t)
		return
	}
	if err := exec.Command("unshare", "--net", "--mount", "true").Run(); err != nil {
		t.Skipf("needs root and unshare(1): %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte(n.ResolvConf), 0o644); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("ip link set lo up; mount --bind \"$0\" /etc/resolv.conf; ")
	for _, a := range n.Addresses {
		script.WriteString("ip address add " + a + " dev lo nodad; ")
	}
	args := []string{"--net", "--mount", "sh", "-ec", script.String() + `exec "$@"`, conf, self, "-test.v", "-test.run=^" + t.Name() + "$"}
	cmd := exec.CommandContext(t.Context(), "unshare", append(args, givenFlags()...)...)
	cmd.Env = append(os.Environ(), ownNetworkEnv+"="+t.Name(), programEnv+"="+program)
	out, err := cmd.CombinedOutput()
	text := string(out)
	switch {
	case err == nil && strings.Contains(text, "--- SKIP: "+t.Name()):
		t.Skip(text)
	case err != nil || !strings.Contains(text, "--- PASS: "+t.Name()):
		t.Errorf("%v\n%s", err, text)
	default:
		t.Log(text)
	}
}

// givenFlags returns the flags that this process was started with and that tests in another one
// need as well.
func givenFlags() (args []string) {
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") || f.Name == "test.short" || f.Name == "test.timeout" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return args
}
