package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"linesplit/admin"
	"linesplit/internal/discovery"
	"linesplit/internal/flags"
	"linesplit/internal/framing"
	"linesplit/listen"
	"linesplit/target"
)

// listeners reads -listen, or -addr and -port.
func listeners(s *flags.Set) []listen.Spec {
	dropOtherListeners(s)
	if !s.Given("listen") {
		return defaultListener(s)
	}
	for _, name := range []string{"addr", "port"} {
		if s.Given(name) {
			s.Fail(name, fmt.Errorf("-listen takes the place of -addr and -port: leave out either -listen or -%s", name))
		}
	}
	var specs []listen.Spec
	seen := map[string]bool{}
	for _, entry := range s.List("listen") {
		spec, err := listen.Parse(entry)
		if err == nil {
			err = checkListener(spec)
		}
		if err == nil && seen[ListenerKey(spec)] {
			err = errors.New("given twice: another listener has this address")
		}
		if err != nil {
			s.FailEntry("listen", entry, err)
			continue
		}
		seen[ListenerKey(spec)] = !ChoosesPort(spec)
		specs = append(specs, spec)
	}
	if len(specs) == 0 && s.OK("listen") {
		s.Fail("listen", errors.New("no listener: write tcp://:9000, for example"))
	}
	listen.Apart(specs)
	return specs
}

// checkListener returns an error for a listener whose socket or token cannot be used.
func checkListener(spec listen.Spec) error {
	err := spec.Check()
	if file := spec.Web().TokenFile; file != "" && err == nil {
		if _, err = admin.LoadListenerToken(file, nil); err != nil {
			err = fmt.Errorf("%s: %w", spec, err)
		}
	}
	return err
}

// ChoosesPort reports whether the kernel is to choose the port of a listener.
func ChoosesPort(spec listen.Spec) bool { return strings.HasSuffix(ListenerKey(spec), ":0") }

// dropOtherListeners drops the inherited settings that a table overrides: -listen overrides -addr
// and -port, and either of these overrides -listen.
func dropOtherListeners(s *flags.Set) {
	own := func(name string) bool { return s.Given(name) && !s.Inherited(name) }
	if own("listen") {
		s.Drop("addr")
		s.Drop("port")
	} else if own("addr") || own("port") {
		s.Drop("listen")
	}
}

// defaultListener returns the listener of -addr and -port, with TLS if there is a certificate.
func defaultListener(s *flags.Set) []listen.Spec {
	host := flags.Parsed(s, "addr", parseHost)
	port := flags.Parsed(s, "port", func(text string) (int, error) { return parsePort(text, s.Source("port")) })
	if !s.OK("addr", "port") {
		return nil
	}
	scheme := "tcp"
	if s.Text("tls-cert") != "" || s.Text("tls-key") != "" || s.Bool("tls-passthrough") && s.Text("mode") != scopeLine {
		scheme = "tls"
	}
	spec, err := listen.Parse(scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		s.FailEntry("addr", s.Text("addr"), err)
		return nil
	}
	return []listen.Spec{spec}
}

// parseHost reads -addr. Brackets around an IPv6 address are allowed.
func parseHost(text string) (string, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if strings.Contains(host, ":") && net.ParseIP(strings.SplitN(host, "%", 2)[0]) == nil {
		return "", errors.New("neither a host name nor an IP address: the port has a flag of its own, -port")
	}
	if strings.ContainsAny(host, "/?#@ []") {
		return "", errors.New("neither a host name nor an IP address")
	}
	return host, nil
}

// parsePort reads -port; source is where the text comes from.
func parsePort(text string, source flags.Source) (int, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err == nil && n >= 0 && n <= 65535:
		return n, nil
	case strings.Contains(text, "://") && source == flags.FromEnv:
		return 0, errors.New("not a port. Kubernetes sets this variable for a Service named linesplit: " +
			"set enableServiceLinks: false in the pod, or give -port")
	}
	return 0, errors.New("not a port: write a number from 0 to 65535, 0 to let the kernel choose")
}

// targets reads -target: addresses, and sources of more addresses.
func targets(s *flags.Set) (addresses []target.Address, sources []discovery.Spec) {
	tlsByDefault := s.Bool("tls-target")
	seen := map[string]bool{}
	for _, entry := range s.List("target") {
		key := entry
		var err error
		if discovery.IsSource(entry) {
			var spec discovery.Spec
			if spec, err = parseSource(entry, tlsByDefault); err == nil && !seen[key] {
				sources = append(sources, spec)
			}
		} else {
			var a target.Address
			if a, err = parseTarget(entry, tlsByDefault); err == nil {
				if key = a.Key(); !seen[key] {
					addresses = append(addresses, a)
				}
			}
		}
		if err == nil && seen[key] {
			err = errors.New("given twice")
		}
		if err != nil {
			s.FailEntry("target", entry, err)
			continue
		}
		seen[key] = true
	}
	if len(addresses)+len(sources) == 0 && s.OK("target") {
		s.Fail("target", errors.New("no target: write 10.0.0.1:9999, for example"))
	}
	return addresses, sources
}

func parseTarget(entry string, tlsByDefault bool) (target.Address, error) {
	a, err := target.ParseAddress(entry, tlsByDefault)
	if err != nil {
		return a, adviseSource(entry, err)
	}
	return a, errors.Join(a.CheckSocket(), a.CheckToken())
}

func parseSource(entry string, tlsByDefault bool) (discovery.Spec, error) {
	spec, err := discovery.ParseSpec(entry, tlsByDefault)
	if err != nil {
		return spec, err
	}
	if err := spec.Check(); err != nil {
		return spec, fmt.Errorf("target %q: %w", entry, err)
	}
	return spec, nil
}

// adviseSource adds to an error about an unknown scheme how sources of targets are written.
func adviseSource(entry string, err error) error {
	scheme, _, found := strings.Cut(entry, "://")
	why := errors.Unwrap(err)
	switch {
	case !found || target.IsScheme(scheme):
		return err
	default:
		why = fmt.Errorf("%w; sources of targets are dns, srv, file, exec, discover+http and discover+https", why)
	}
	return fmt.Errorf("target %q: %w", entry, why)
}

// ParseTarget reads the address of a target to add to those of c while it runs. NAME= before the
// address names its group.
func (c Config) ParseTarget(address string) (target.Address, error) {
	group, rest, err := c.cutGroup(address)
	if err != nil {
		return target.Address{}, fmt.Errorf("%q: %w", address, err)
	}
	if discovery.IsSource(rest) {
		return target.Address{}, fmt.Errorf("%q is a source of targets: write it into the configuration and reload", address)
	}
	a, err := target.ParseAddress(rest, c.tlsTargets)
	if err != nil {
		return a, err
	}
	a.Group = group
	if err := c.TargetChecker()(a); err != nil {
		return a, fmt.Errorf("%q: %w", address, err)
	}
	return a, nil
}

// TargetChecker returns a function that returns an error for a target that cannot be added to those
// of c.
func (c Config) TargetChecker() func(target.Address) error {
	own := c.ownPlaces()
	return func(a target.Address) error {
		return errors.Join(checkTarget(a, c.Mode), c.checkHealthOptions(a), c.checkReject(a), own.check(a), c.checkListened(a))
	}
}

// checkListened returns an error for a target that no listener of c leads to, since one has
// datagrams and the other streams.
func (c Config) checkListened(a target.Address) error {
	datagrams := a.Scheme == target.SchemeUDP
	if c.Mode != ConnectionMode ||
		slices.ContainsFunc(c.Listen, func(spec listen.Spec) bool { return spec.UDP() == datagrams }) {
		return nil
	}
	return noListener(kindOf(datagrams))
}

// AddressKey returns the part of a listener's or a target's address that no two of them may
// share: the address without its scheme and options. Host names are compared without case, paths
// with it.
func AddressKey(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	rest, _, _ = strings.Cut(rest, "?")
	switch scheme {
	case target.SchemeUnix:
		return rest
	case target.SchemeUDP: // UDP ports are not TCP ports
		return "udp " + strings.ToLower(rest)
	}
	return strings.ToLower(rest)
}

// ListenerKey is AddressKey for a listener: those for HTTP requests share their addresses with no
// other, whatever their paths are.
func ListenerKey(spec listen.Spec) string {
	key := AddressKey(spec.String())
	if spec.Web().On {
		key, _, _ = strings.Cut(key, "/")
	}
	return key
}

// checkAddresses records listeners and targets that are not valid in the mode, and those that do
// not fit each other.
func checkAddresses(s *flags.Set, c Config) {
	for _, spec := range c.Listen {
		if c.Mode == ConnectionMode && spec.Stdin() {
			s.FailValue("listen", spec.String(), errors.New("standard input is lines: it needs -mode line"))
		}
		if c.Mode == ConnectionMode && spec.Waits() {
			s.FailValue("listen", spec.String(), errors.New("HTTP requests and RELP are taken with -mode line only: write tcp:// "+
				"or tls:// to forward connections"))
		}
		if c.Mode == LineMode && spec.Web().MaxRequest > max(c.Memory/16, listen.DefaultMaxRequest) && s.OK("memory") {
			s.FailValue("listen", spec.String(), fmt.Errorf("?max-request must be at most a sixteenth of -memory, which is %s",
				s.Text("memory")))
		}
		if c.Mode == ConnectionMode && spec.Framing() != framing.Newline {
			s.FailValue("listen", spec.String(), errNoFraming)
		}
	}
	for _, a := range c.Targets {
		err := errors.Join(checkTarget(a, c.Mode), c.checkReject(a))
		if err == nil && s.OK("health") {
			err = c.checkHealthOptions(a)
		}
		if err != nil {
			failTarget(s, a.Group, a.String(), err)
		}
	}
	for _, spec := range c.Sources {
		err := errors.Join(checkTarget(spec.Sample(), c.Mode), c.checkReject(spec.Sample()))
		if err == nil && s.OK("health") {
			err = c.checkHealthOptions(spec.Sample())
		}
		if err != nil {
			failTarget(s, spec.Group(), spec.String(), err)
		}
	}
	checkOwn(s, c)
	if c.Mode == ConnectionMode && s.OK("listen", "addr", "port", "target") {
		checkPairs(s, c)
	}
}

var errNoFraming = errors.New("?framing is only valid with -mode line: connections are forwarded as they are")

// checkHealthOptions returns an error for a target with options of a check if -health is not set.
// In connection mode ?fall is valid all the same, since it counts failed dials, too.
func (c Config) checkHealthOptions(a target.Address) error {
	option := ""
	switch {
	case c.Health.Check.Enabled():
	case a.HealthInterval > 0:
		option = "health-interval"
	case a.Rise > 0:
		option = "rise"
	case a.Fall > 0 && c.Mode == LineMode:
		option = "fall"
	}
	if option == "" {
		return nil
	}
	return fmt.Errorf("?%s has no effect without -health: choose a check, such as -health tcp", option)
}

// checkReject returns an error for a target whose refused lines are to be kept, and have no file.
func (c Config) checkReject(a target.Address) error {
	if a.Batching.Reject == target.RejectFile && c.DeadLetter == "" {
		return errors.New("?reject=file needs -dead-letter, the file that refused lines are written to")
	}
	return nil
}

// checkTarget returns an error for a target that is not valid in the mode, or has an option that is
// not.
func checkTarget(a target.Address, m Mode) error {
	onlyLines := "only valid with -mode line: connections are not sent again"
	onlyConnections := "only valid with -mode connection"
	switch {
	case m == ConnectionMode && a.Acknowledges():
		return fmt.Errorf("a %s:// target is only valid with -mode line: write tcp:// or tls:// to forward connections to it",
			a.Scheme)
	case m == ConnectionMode && a.ViaProxy:
		return errors.New("?via-proxy is " + onlyLines)
	case m == ConnectionMode && a.Framing != framing.Newline:
		return errNoFraming
	case m == ConnectionMode && a.MaxAge > 0:
		return errors.New("?max-age is " + onlyLines)
	case m == ConnectionMode && a.Connections > 0:
		return errors.New("?connections is only valid with -mode line: write ?max-connections to limit clients")
	case m == ConnectionMode:
		return nil
	case a.Scheme == target.SchemeUDP:
		return errors.New("a udp:// target is " + onlyConnections + ": a datagram's delivery cannot be confirmed")
	case a.MaxConnections > 0:
		return errors.New("?max-connections is " + onlyConnections)
	case a.ProxyProtocol > 0:
		return errors.New("?proxy-protocol is " + onlyConnections)
	}
	return nil
}

// checkPairs records listeners without targets of their kind, datagrams or streams, and targets
// without listeners.
func checkPairs(s *flags.Set, c Config) {
	var listeners, targets [2]string // the last of each kind
	for _, spec := range c.Listen {
		listeners[kindOf(spec.UDP())] = spec.String()
	}
	for _, a := range c.Targets {
		targets[kindOf(a.Scheme == target.SchemeUDP)] = a.String()
	}
	for _, spec := range c.Sources {
		targets[kindOf(spec.Datagrams())] = spec.String()
		if spec.MayListBoth() { // it may have targets for every listener
			return
		}
	}
	for kind, needed := range kinds {
		switch {
		case listeners[kind] != "" && targets[kind] == "":
			s.Fail("target", fmt.Errorf("the listener %s needs %s target", listeners[kind], needed))
		case listeners[kind] == "" && targets[kind] != "":
			s.FailValue("target", targets[kind], noListener(kind))
		}
	}
}

// kinds are the kinds of listeners and targets in words, by kindOf.
var kinds = [2]string{"a tcp://, tls:// or unix://", "a udp://"}

// noListener returns the error for a target of a kind without a listener.
func noListener(kind int) error {
	return fmt.Errorf("no listener leads to it: it needs %s listener", kinds[kind])
}

// kindOf returns the kind of a listener or target: 0 for streams, 1 for datagrams.
func kindOf(datagrams bool) int {
	if datagrams {
		return 1
	}
	return 0
}

// accessLists reads -allow, -deny and -proxy-protocol-from.
func accessLists(s *flags.Set) listen.Lists {
	return listen.Lists{
		Allow: prefixes(s, "allow"), Deny: prefixes(s, "deny"), ProxyFrom: prefixes(s, "proxy-protocol-from"),
	}
}

// prefixes reads a list of networks and addresses.
func prefixes(s *flags.Set, name string) []netip.Prefix {
	var all []netip.Prefix
	for _, entry := range s.List(name) {
		p, err := listen.ParsePrefix(entry)
		if err != nil {
			s.FailValue(name, entry, err)
			continue
		}
		all = append(all, p)
	}
	return all
}
