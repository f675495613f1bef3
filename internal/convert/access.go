package convert

import (
	"net/netip"
	"slices"
)

// accessRule is one rule of a list in which the first rule that matches an address decides.
type accessRule struct {
	allow bool
	net   netip.Prefix
	line  int // of the input
}

// accessLists turns a list of rules, and what applies where none matches, into linesplit's two
// lists: deny wins over allow, and with an allow list every other address is refused. ok is false
// if no two such lists decide alike.
func accessLists(rules []accessRule, otherwise bool) (allow, deny []netip.Prefix, ok bool) {
	for i, r := range rules {
		before, after := rules[:i], rules[i+1:]
		if matchedBefore(before, r.net) {
			continue // an earlier rule decides about all of it
		}
		switch {
		case r.allow && !otherwise:
			allow = append(allow, r.net)
		case r.allow, !otherwise && !overlapsAllowed(after, r.net):
			// The rule decides as otherwise does.
		case overlapsAllowed(before, r.net):
			return nil, nil, false // an earlier rule allows a part of it, and deny would win
		default:
			deny = append(deny, r.net)
		}
	}
	if !otherwise && len(allow) == 0 {
		return nil, nil, false // no client is allowed
	}
	return allow, deny, true
}

// matchedBefore reports whether one of the rules includes all of net.
func matchedBefore(rules []accessRule, net netip.Prefix) bool {
	return slices.ContainsFunc(rules, func(r accessRule) bool {
		return r.net.Bits() <= net.Bits() && r.net.Overlaps(net)
	})
}

// overlapsAllowed reports whether one of the rules allows a part of net.
func overlapsAllowed(rules []accessRule, net netip.Prefix) bool {
	return slices.ContainsFunc(rules, func(r accessRule) bool { return r.allow && r.net.Overlaps(net) })
}

// parseNet reads an address or a network. It clears the bits after the network's part, as in
// 10.1.2.3/8.
func parseNet(text string) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err == nil
}

// setAccess adds the rules to the service as lists, and reports whether linesplit can express them.
func (s *section) setAccess(rules []accessRule, otherwise bool) bool {
	allow, deny, ok := accessLists(rules, otherwise)
	if !ok {
		return false
	}
	for _, list := range []struct {
		key  string
		nets []netip.Prefix
	}{{"allow", allow}, {"deny", deny}} {
		for _, net := range list.nets {
			s.add(list.key, netText(net), "")
		}
	}
	return true
}

// netText returns the network as linesplit takes it: a single address has no number of bits.
func netText(net netip.Prefix) string {
	if net.IsSingleIP() {
		return net.Addr().String()
	}
	return net.String()
}
