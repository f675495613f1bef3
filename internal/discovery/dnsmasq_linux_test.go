package discovery

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linesplit/internal/testrig"
)

// dnsmasq is a running name server that the system's resolver asks.
type dnsmasq struct {
	*testing.T
	*testrig.NameServer
}

func (d dnsmasq) ask(spec string) (Answer, error) {
	ctx, cancel := context.WithTimeout(d.Context(), lookupTimeout)
	defer cancel()
	return mustSpec(d.T, spec).open(Options{}).lookup(ctx)
}

// until asks again and again, since dnsmasq takes a moment to read its files.
func (d dnsmasq) until(what, spec string, is func(Answer, error) bool) {
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

func (d dnsmasq) want(spec string, want ...string) {
	d.Helper()
	slices.Sort(want)
	d.until(spec, spec, func(a Answer, err error) bool {
		return err == nil && a.Missing == nil && cmp.Equal(want, written(a)) && (len(want) == 0 || a.TTL == 7*time.Second)
	})
}

// The system's resolver asks two name servers, of which the first is dead, and has a search list.
func TestRealNameServer(t *testing.T) {
	const conf = "nameserver 127.0.0.2\nnameserver 127.0.0.1\nsearch here.test other.test\noptions timeout:1 attempts:1\n"
	testrig.OwnNetwork{ResolvConf: conf}.Run(t, testWithDnsmasq)
}

func testWithDnsmasq(t *testing.T) {
	base := []string{"10.0.0.1 a.here.test", "2001:db8::1 a.here.test", "10.0.0.2 b.here.test", "10.0.0.3 c.here.test", "10.9.9.9 only.other.test"}
	d := dnsmasq{t, testrig.StartNameServer(t, testrig.NameServerOptions{
		Addr: "127.0.0.1:53", TTL: 7, Hosts: base, Args: []string{
			"--server=/broken.example/127.0.0.1#9",
			"--srv-host=_logs._tcp.here.test,a.here.test,9001,0,3", "--srv-host=_logs._tcp.here.test,b.here.test,9002,0,1",
			"--srv-host=_logs._tcp.here.test,c.here.test,9003,9,1",
		},
	})}
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
	d.Set(many...)
	for range 3 { // dnsmasq rotates its answers
		d.want("dns://many:9", targets...)
	}
	failed := func(_ Answer, err error) bool { return err != nil }
	d.until("a server behind it is dead", "dns://x.broken.example.:9", failed)

	for range 2 { // it flaps
		d.Signal(syscall.SIGSTOP)
		d.until("a server that hangs", "dns://a.here.test.:9", failed)
		d.Signal(syscall.SIGCONT)
		d.want("dns://a:9", "tcp://10.0.0.1:9 a", "tcp://[2001:db8::1]:9 a")
	}
	d.Set(base[2:]...)
	d.until("the name is gone", "dns://a.here.test.:9", func(a Answer, err error) bool { return err == nil && len(a.Targets) == 0 })
	d.Kill()
	d.until("it is dead", "dns://b.here.test.:9", failed)
}
