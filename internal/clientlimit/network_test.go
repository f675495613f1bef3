package clientlimit

import (
	"net/netip"
	"testing"
)

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"10.1.2.3":             "10.1.2.3",
		"::ffff:10.1.2.3":      "10.1.2.3",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":  "2001:db8:1:2::",
		"2001:db8:1:3::1":      "2001:db8:1:3::",
		"fe80::1:2:3:4%eth0":   "fe80::",
	} {
		if got := Network(netip.MustParseAddr(address)); got.String() != want {
			t.Errorf("Network(%s) = %v, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("Network of no address = %v", got)
	}
}

// Each of the 2^64 addresses that the owner of an IPv6 network can choose had limits of its own, so
// that there were none.
func TestLimitsGoByNetwork(t *testing.T) {
	var c Clients
	limits := Limits{Connections: 2, Rate: 3}
	addr := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	for _, step := range []struct {
		from string
		want Verdict
	}{
		{"2001:db8::1", Admitted}, {"2001:db8::ffff:1", Admitted}, {"2001:db8::2", TooMany}, {"2001:db8::3", TooFast},
		{"2001:db8:0:1::1", Admitted}, // another network
	} {
		if got := c.Admit(addr(step.from), limits); got != step.want {
			t.Errorf("%s: %v, want %v", step.from, got, step.want)
		}
	}
	for _, from := range []string{"2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"} {
		c.Dismiss(addr(from))
	}
	if len(c.counts) != 0 {
		t.Errorf("%d networks are remembered", len(c.counts))
	}
}
