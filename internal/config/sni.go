package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"linesplit/internal/flags"
	"linesplit/internal/servername"
	"linesplit/listen"
	"linesplit/target"
)

// Routes reports whether linesplit looks at the first message of clients of TLS listeners, to
// decide which of them to serve, or to forward their TLS.
func (c Config) Routes() bool {
	return c.TLSPassthrough || len(c.Wanted.Names) > 0 || c.Wanted.Rest != listen.NoRest
}

// routing reads -sni and -sni-default, the clients of TLS listeners to serve, and -tls-passthrough.
func routing(s *flags.Set, c Config) (w listen.Wanted, passthrough bool) {
	if s.OK("listen", "addr", "port") && !c.ListensTLS() {
		dropAll(s, "sni", "sni-default", "tls-passthrough")
	}
	passthrough = s.Bool("tls-passthrough")
	for _, entry := range s.List("sni") {
		name, err := servername.Parse(entry)
		if err == nil && slices.Contains(w.Names, name) {
			err = errors.New("given twice")
		}
		if err != nil {
			s.FailEntry("sni", entry, err)
			continue
		}
		w.Names = append(w.Names, name)
	}
	for _, entry := range s.List("sni-default") {
		rest, err := listen.ParseRest(entry)
		if err != nil {
			s.FailEntry("sni-default", entry, err)
			continue
		}
		w.Rest |= rest
	}
	if passthrough && len(w.Names) == 0 && w.Rest == listen.NoRest {
		w.Rest = listen.AllRest
	}
	if s.OK("listen", "addr", "port") && !c.ListensTLS() {
		useless := errors.New("no listener speaks TLS: write tls://HOST:PORT in -listen")
		for _, name := range []string{"sni", "sni-default", "tls-passthrough"} {
			if s.Given(name) && s.OK(name) && (name != "tls-passthrough" || passthrough) {
				s.Fail(name, useless)
			}
		}
	}
	return w, passthrough
}

// refuseWithPassthrough records settings that have no effect with -tls-passthrough, and targets for
// which it makes no sense.
func refuseWithPassthrough(s *flags.Set, c Config) {
	names := []string{"tls-cert", "tls-key", "tls-client-ca", "tls-client-crl"}
	dropAll(s, names...)
	for _, name := range names {
		if s.Text(name) != "" && s.OK(name) {
			s.Fail(name, errors.New("has no effect with -tls-passthrough: the target does the handshake"))
		}
	}
	for _, a := range c.Targets {
		if a.Scheme == target.SchemeTLS {
			s.FailValue("target", a.String(), errors.New("the client's TLS would be wrapped in TLS once more, "+
				"since -tls-passthrough forwards it as it is: write tcp://"))
		}
	}
}

// mayShare returns an error if the services a and b cannot share the address of their listeners
// spec and otherSpec. They can if both listeners speak TLS and the services have different server
// names.
func mayShare(spec, otherSpec listen.Spec, a, b Config) error {
	if !spec.TLS() || !otherSpec.TLS() || !a.Routes() && !b.Routes() {
		return fmt.Errorf("the services %s and %s both listen on %s: give one of them another address%s", a.Name, b.Name, spec,
			shareHint(spec, otherSpec))
	}
	for _, c := range []Config{a, b} {
		if len(c.Wanted.Names) == 0 && !c.defaults {
			return fmt.Errorf("the services %s and %s share %s, and %s has no sni: give it server names, "+
				"or sni-default if it is for all other clients", a.Name, b.Name, spec, c.Name)
		}
	}
	if err := a.Wanted.Overlap(b.Wanted); err != nil {
		return fmt.Errorf("the services %s and %s share %s, and both have %w", a.Name, b.Name, spec, err)
	}
	same := map[string]bool{
		"allow":               slices.Equal(a.Access.Allow, b.Access.Allow),
		"deny":                slices.Equal(a.Access.Deny, b.Access.Deny),
		"proxy-protocol-from": slices.Equal(a.Access.ProxyFrom, b.Access.ProxyFrom),
		"reuse-port":          a.ReusePort == b.ReusePort,
	}
	for _, name := range slices.Sorted(maps.Keys(same)) {
		if !same[name] {
			return fmt.Errorf("the services %s and %s share %s, and differ in %s, which comes before the server name: "+
				"give both the same", a.Name, b.Name, spec, name)
		}
	}
	return nil
}

// shareHint returns a hint how two services can share a listener, or "" if they cannot.
func shareHint(specs ...listen.Spec) string {
	if slices.ContainsFunc(specs, func(s listen.Spec) bool { return !s.TLS() }) {
		return ""
	}
	return ", or each server names of its own (sni)"
}
