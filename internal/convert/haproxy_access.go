package convert

import (
	"net/netip"
	"slices"
	"strings"
)

// haACL is one condition: an "acl NAME CRITERION VALUES" line, or { CRITERION VALUES } in a rule.
type haACL struct {
	line      haLine // empty for a condition in a rule
	criterion string
	values    []string
	flags     []string // such as "-i", and "-m end" with its argument
}

// haRule is a "tcp-request connection accept" or "reject" line.
type haRule struct {
	line    haLine
	allow   bool
	negated bool           // the rule is about all addresses but nets
	nets    []netip.Prefix // empty: every address
}

// acl reads "acl NAME CRITERION VALUES". accessLists finds out later whether it has a counterpart.
func (v *haService) acl(l haLine) bool {
	if len(l.words) < 3 {
		v.miss(l, l.String(), "it needs a name and a condition")
		return true
	}
	v.acls[l.words[1]] = append(v.acls[l.words[1]], newACL(l, l.words[2:]))
	return true
}

// newACL returns the condition in words: a criterion, flags and values.
func newACL(l haLine, words []string) haACL {
	a := haACL{line: l, criterion: words[0]}
	a.values, a.flags = aclValues(words[1:])
	return a
}

// aclValues returns the values of a condition, and its flags, such as -i.
func aclValues(words []string) (values, flags []string) {
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == "--":
			return append(values, words[i+1:]...), flags
		case (word == "-m" || word == "-f") && i+1 < len(words):
			i++
			flags = append(flags, word+" "+words[i])
		case strings.HasPrefix(word, "-"):
			flags = append(flags, word)
		default:
			values = append(values, word)
		}
	}
	return values, flags
}

// condition returns the single condition of a rule: a named acl, which may have several lines, or
// { CRITERION VALUES }. ok is false for anything else, such as two conditions.
func (v *haService) condition(words []string) (acls []haACL, negated, ok bool) {
	if len(words) < 2 || words[0] != "if" && words[0] != "unless" {
		return nil, false, false
	}
	negated = words[0] == "unless"
	words = words[1:]
	if words[0] == "!" && len(words) > 1 {
		negated, words = !negated, words[1:]
	} else if name, found := strings.CutPrefix(words[0], "!"); found {
		negated, words = !negated, append([]string{name}, words[1:]...)
	}
	if words[0] == "{" && words[len(words)-1] == "}" && len(words) > 3 && !slices.Contains(words[1:len(words)-1], "}") {
		return []haACL{newACL(haLine{}, words[1:len(words)-1])}, negated, true
	}
	if len(words) != 1 {
		return nil, false, false
	}
	acls, ok = v.acls[words[0]]
	return acls, negated, ok
}

// sources returns the networks of conditions on the source address. ok is false if one of the
// conditions is about something else.
func sources(acls []haACL) (nets []netip.Prefix, ok bool) {
	for _, a := range acls {
		if a.criterion != "src" || len(a.values) == 0 || len(a.flags) > 0 {
			return nil, false
		}
		for _, text := range a.values {
			net, ok := parseNet(text)
			if !ok {
				return nil, false
			}
			nets = append(nets, net)
		}
	}
	return nets, len(nets) > 0
}

// connectionRule reads "tcp-request connection ACTION if …".
func (v *haService) connectionRule(l haLine) bool {
	r := haRule{line: l, allow: l.arg(2) == "accept"}
	rest := l.words[min(3, len(l.words)):]
	if l.arg(2) == "expect-proxy" && l.arg(3) == "layer4" {
		rest = l.words[4:]
	}
	acls, negated, ok := v.condition(rest)
	if ok {
		r.negated = negated
		r.nets, ok = sources(acls)
	} else {
		ok = len(rest) == 0
	}
	switch action := l.arg(2); {
	case ok && (action == "accept" || action == "reject"):
		v.rules = append(v.rules, r)
	case ok && action == "expect-proxy" && !negated:
		v.proxyFrom(r.nets)
	default:
		v.miss(l, l.String(), "")
	}
	return true
}

// proxyFrom adds the peers that must begin with a PROXY header: nets, or all peers if nets is
// empty.
func (v *haService) proxyFrom(nets []netip.Prefix) {
	if len(nets) == 0 {
		nets = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	for _, net := range nets {
		if !slices.Contains(v.s.list("proxy-protocol-from"), item{text: netText(net)}) {
			v.s.add("proxy-protocol-from", netText(net), "")
		}
	}
}

// accessLists turns the rules about connections into allow, deny and proxy-protocol-from, and
// records the conditions that linesplit cannot express and that no route uses.
func (v *haService) accessLists() {
	if v.binds > 0 && v.proxied {
		v.proxyFrom(nil)
	}
	if len(v.rules) > 0 && !v.setRules() {
		for _, r := range v.rules {
			v.miss(r.line, r.line.String(), "linesplit's deny wins over allow, and where there is an allow, all others are refused")
		}
	}
	for _, acls := range v.acls {
		for _, a := range acls {
			if _, ok := sources([]haACL{a}); !ok && !v.routes.acls[a.line.n] {
				v.miss(a.line, a.line.String(), "")
			}
		}
	}
}

// setRules sets allow and deny from the rules, and reports whether linesplit can express them.
func (v *haService) setRules() bool {
	var rules []accessRule
	otherwise := true
	for _, r := range v.rules {
		if !otherwise { // the rule before decides about every address
			break
		}
		switch {
		case len(r.nets) == 0 && r.allow:
			return v.s.setAccess(rules, true)
		case len(r.nets) == 0:
			otherwise = false
		case r.negated && !r.allow: // reject unless: the other rules are about these networks
			return len(rules) == 0 && v.allowOnly(r)
		case r.negated:
			return false
		default:
			for _, net := range r.nets {
				rules = append(rules, accessRule{r.allow, net, r.line.n})
			}
		}
	}
	return v.s.setAccess(rules, otherwise)
}

// allowOnly allows the networks of a rule alone, less those that later rules reject. It returns
// false if later rules do anything else.
func (v *haService) allowOnly(only haRule) bool {
	var rules []accessRule
	for _, r := range v.rules[1:] {
		if r.allow || r.negated || len(r.nets) == 0 {
			return false
		}
		for _, net := range r.nets {
			rules = append(rules, accessRule{false, net, r.line.n})
		}
	}
	for _, net := range only.nets {
		rules = append(rules, accessRule{true, net, only.line.n})
	}
	return v.s.setAccess(rules, false)
}
