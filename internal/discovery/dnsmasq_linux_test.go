package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// inNamespace is set in the process that has a network of its own, and a resolv.conf.
const inNamespace = "LINESPLIT_TEST_DNSMASQ"

// TestRealNameServer runs TestWithDnsmasq in a network namespace, where dnsmasq has port 53 and
// /etc/resolv.conf has a search list.
func TestRealNameServer(t *testing.T) {
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("needs dnsmasq: apt-get install dnsmasq-base")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "resolv.conf")
	const text = "nameserver 127.0.0.1\nsearch here.test other.test\noptions timeout:1 attempts:1\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("unshare", "--net", "--mount", "true").Run(); err != nil {
		t.Skipf("needs root and unshare(1): %v", err)
	}
	cmd := exec.Command("unshare", "--net", "--mount", "sh", "-ec",
		`ip link set lo up; mount --bind "$0" /etc/resolv.conf; exec "$@"`, conf, self, "-test.run=^TestWithDnsmasq$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestWithDnsmasq") {
		t.Errorf("%v\n%s", err, out)
	}
}

// dnsmasq is a running name server, and the files that it reads.
type dnsmasq struct {
	*testing.T
	hosts string
	cmd   *exec.Cmd
}

func (d *dnsmasq) start() {
	d.Helper()
	d.cmd = exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=",
		"--user=", "--addn-hosts="+d.hosts, "--local-ttl=7", "--bind-interfaces", "--listen-address=127.0.0.1",
		"--local=/test/", "--server=/broken.example/127.0.0.1#9",
		"--srv-host=_logs._tcp.here.test,a.here.test,9001,0,3", "--srv-host=_logs._tcp.here.test,b.here.test,9002,0,1",
		"--srv-host=_logs._tcp.here.test,c.here.test,9003,9,1")
	if err := d.cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { d.cmd.Process.Kill(); d.cmd.Wait() })
	d.until("it answers", "dns://a.here.test:9", func(a Answer, err error) bool { return err == nil && len(a.Targets) > 0 })
}

// set writes the hosts, as lines of "ADDRESS NAME".
func (d *dnsmasq) set(lines ...string) {
	d.Helper()
	if err := os.WriteFile(d.hosts, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		d.Fatal(err)
	}
	if d.cmd != nil {
		d.signal(syscall.SIGHUP)
	}
}

func (d *dnsmasq) signal(s syscall.Signal) {
	d.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.Fatal(err)
	}
}

func (d *dnsmasq) ask(spec string) (Answer, error) {
	ctx, cancel := context.WithTimeout(d.Context(), lookupTimeout)
	defer cancel()
	return mustSpec(d.T, spec).open(Options{}).lookup(ctx)
}

// until asks again and again, since dnsmasq takes a moment to read its files.
func (d *dnsmasq) until(what, spec string, is func(Answer, error) bool) {
	d.Helper()
	for end := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		a, err := d.ask(spec)
		if is(a, err) {
			return
		}
		if time.Now().After(end) {
			d.Fatalf("%s: %v, missing %v, %v", what, written(a), a.Missing, err)
		}
	}
}

func (d *dnsmasq) want(spec string, want ...string) {
	d.Helper()
	slices.Sort(want)
	d.until(spec, spec, func(a Answer, err error) bool {
		return err == nil && a.Missing == nil && cmp.Equal(want, written(a)) && (len(want) == 0 || a.TTL == 7*time.Second)
	})
}

func TestWithDnsmasq(t *testing.T) {
	dir := os.Getenv(inNamespace)
	if dir == "" {
		t.Skip("runs within TestRealNameServer")
	}
	d := &dnsmasq{T: t, hosts: filepath.Join(dir, "hosts")}
	base := []string{"10.0.0.1 a.here.test", "2001:db8::1 a.here.test", "10.0.0.2 b.here.test", "10.0.0.3 c.here.test", "10.9.9.9 only.other.test"}
	d.set(base...)
	d.start()
	d.want("dns://a:9", "tcp://10.0.0.1:9 a", "tcp://[2001:db8::1]:9 a") // by the search list
	d.want("dns://only:9", "tcp://10.9.9.9:9 only")                      // by its second name
	d.want("dns://a.here.test.:9?scheme=tls", "tls://10.0.0.1:9 a.here.test", "tls://[2001:db8::1]:9 a.here.test")
	d.want("srv://_logs._tcp", "tcp://10.0.0.1:9001?weight=3 a.here.test", "tcp://[2001:db8::1]:9001?weight=3 a.here.test", "tcp://10.0.0.2:9002 b.here.test")
	d.want("dns://none.here.test:9") // NXDOMAIN

	many, targets := slices.Clone(base), []string(nil)
	for i := range 200 {
		ip := netip.AddrFrom4([4]byte{10, 1, byte(i / 100), byte(i % 100)})
		many = append(many, fmt.Sprintf("%v many.here.test", ip))
		targets = append(targets, fmt.Sprintf("tcp://%v:9 many", ip))
	}
	d.set(many...)
	for range 3 { // dnsmasq rotates its answers
		d.want("dns://many:9", targets...)
	}
	failed := func(_ Answer, err error) bool { return err != nil }
	d.until("a server behind it is dead", "dns://x.broken.example.:9", failed)

	for range 2 { // it flaps
		d.signal(syscall.SIGSTOP)
		d.until("a server that hangs", "dns://a.here.test.:9", failed)
		d.signal(syscall.SIGCONT)
		d.want("dns://a:9", "tcp://10.0.0.1:9 a", "tcp://[2001:db8::1]:9 a")
	}
	d.set(base[2:]...)
	d.until("the name is gone", "dns://a.here.test.:9", func(a Answer, err error) bool { return err == nil && len(a.Targets) == 0 })
	d.cmd.Process.Kill()
	d.cmd.Wait()
	d.until("it is dead", "dns://b.here.test.:9", failed)
}
