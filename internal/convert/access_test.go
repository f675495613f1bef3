package convert

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// A list of rules, and the two lists that accessLists makes of it, decide alike about every
// address.
func TestAccessListsDecideAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	converted := 0
	for range 5_000 {
		rules := make([]accessRule, random.IntN(6))
		for i := range rules {
			bits := random.IntN(9)
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(256))})
			rules[i] = accessRule{allow: random.IntN(2) == 0, net: netip.PrefixFrom(addr, 24+bits).Masked()}
		}
		otherwise := random.IntN(2) == 0
		allow, deny, ok := accessLists(rules, otherwise)
		if !ok {
			continue
		}
		converted++
		for last := range 256 {
			ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(last)})
			want, got := decide(rules, otherwise, ip), listed(allow, deny, ip)
			if want != got {
				t.Fatalf("%v, otherwise %v: %s %v, want %v\nallow %v deny %v", rules, otherwise, ip, got, want, allow, deny)
			}
		}
	}
	if converted < 2_500 {
		t.Errorf("only %d of 5000 lists were converted", converted)
	}
}

// decide reports whether an origin allows an address: the first rule that matches decides.
func decide(rules []accessRule, otherwise bool, ip netip.Addr) bool {
	for _, r := range rules {
		if r.net.Contains(ip) {
			return r.allow
		}
	}
	return otherwise
}

// listed reports whether linesplit allows an address.
func listed(allow, deny []netip.Prefix, ip netip.Addr) bool {
	contains := func(net netip.Prefix) bool { return net.Contains(ip) }
	return !slices.ContainsFunc(deny, contains) && (len(allow) == 0 || slices.ContainsFunc(allow, contains))
}
