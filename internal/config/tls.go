package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"linesplit/admin"
	"linesplit/internal/discovery"
	"linesplit/internal/flags"
	"linesplit/target"
	"linesplit/tlsconf"
)

// ListensTLS reports whether any listener speaks TLS.
func (c Config) ListensTLS() bool {
	for _, spec := range c.Listen {
		if spec.TLS() {
			return true
		}
	}
	return false
}

// Acknowledges reports whether any target acknowledges lines itself, or may do so.
func (c Config) Acknowledges() bool { return c.anyTarget(target.Address.Acknowledges) }

// NamesBatches reports whether any target gets batches with IDs, or may do so.
func (c Config) NamesBatches() bool { return c.anyTarget(target.Address.NamesBatches) }

// anyTarget reports whether any target is of a kind, or a source may list one that is.
func (c Config) anyTarget(is func(target.Address) bool) bool {
	return slices.ContainsFunc(c.Targets, is) ||
		slices.ContainsFunc(c.Sources, func(s discovery.Spec) bool { return s.MayListBoth() || is(s.Sample()) })
}

// DialsTLS reports whether any target speaks TLS, or may do so.
func (c Config) DialsTLS() bool { return c.anyTarget(target.Address.Secure) }

// FailFiles records the faults in err, an error of tlsconf.NewServer or NewClient, each as one of
// the option that names the file. names has the options.
func FailFiles(s *flags.Set, err error, names map[tlsconf.File]string) {
	files, others := tlsconf.FileErrors(err)
	for _, f := range files {
		if f.Name == "" {
			s.Fail(names[f.File], f.Err)
			continue
		}
		s.FailValue(names[f.File], f.Name, f.Err)
	}
	for _, err := range others {
		s.AddError(err)
	}
}

// serverOptions returns the names of the options for the files of a listener, after a prefix.
func serverOptions(prefix string) map[tlsconf.File]string {
	return map[tlsconf.File]string{
		tlsconf.CertFile: prefix + "tls-cert", tlsconf.KeyFile: prefix + "tls-key",
		tlsconf.CAFile: prefix + "tls-client-ca", tlsconf.CRLFile: prefix + "tls-client-crl",
	}
}

// serverTLS reads the names of the listeners' files, and loads the files once to find faults.
func serverTLS(s *flags.Set, c Config, minVersion uint16) tlsconf.ServerFiles {
	if s.OK("listen", "addr", "port") && !c.ListensTLS() {
		dropAll(s, "tls-cert", "tls-key", "tls-client-ca", "tls-client-crl")
	}
	files := tlsconf.ServerFiles{
		ClientCA: s.Text("tls-client-ca"), ClientCRL: s.Text("tls-client-crl"), MinVersion: minVersion,
	}
	if pairs := certificatePairs(s); len(pairs) > 0 {
		files.Cert, files.Key, files.More = pairs[0].Cert, pairs[0].Key, pairs[1:]
	}
	if c.TLSPassthrough {
		refuseWithPassthrough(s, c)
		return tlsconf.ServerFiles{}
	}
	listenersKnown := s.OK("listen", "addr", "port")
	switch {
	case !s.OK("tls-cert", "tls-key"):
	case listenersKnown && files.Cert == "" && c.ListensTLS():
		s.Fail("listen", noCertificate(c))
	case files.Cert == "" && files.ClientCA != "":
		s.Fail("tls-client-ca", errors.New("only valid with -tls-cert and -tls-key"))
	case files.ClientCA == "" && files.ClientCRL != "":
		s.Fail("tls-client-crl", errors.New("only valid with -tls-client-ca"))
	case listenersKnown && files.Cert != "" && !c.ListensTLS():
		s.Fail("tls-cert", errors.New("no listener speaks TLS: write tls://HOST:PORT in -listen"))
	case files.Cert != "":
		if _, err := tlsconf.NewServer(files); err != nil {
			FailFiles(s, err, serverOptions(""))
		}
	}
	return files
}

// noCertificate is the fault of a tls:// or https:// listener without a certificate.
func noCertificate(c Config) error {
	for _, spec := range c.Listen {
		if scheme, _, _ := strings.Cut(spec.String(), "://"); spec.TLS() && spec.Waits() && c.Mode == LineMode {
			return fmt.Errorf("the listener %s:// needs -tls-cert and -tls-key", scheme)
		}
	}
	if c.Mode == ConnectionMode {
		return errors.New("a tls:// listener needs -tls-cert and -tls-key, or -tls-passthrough if targets do the handshake")
	}
	return errors.New("a tls:// listener needs -tls-cert and -tls-key")
}

// dropAll drops those of the options that are inherited, since they have no effect on a service.
func dropAll(s *flags.Set, names ...string) {
	for _, name := range names {
		s.Drop(name)
	}
}

// certificatePairs returns the certificates of the listeners with their keys, in the order of the
// options.
func certificatePairs(s *flags.Set) (pairs []tlsconf.Pair) {
	s.RequirePair("tls-cert", "tls-key")
	certs, keys := s.List("tls-cert"), s.List("tls-key")
	if !s.OK("tls-cert", "tls-key") {
		return nil
	}
	if len(certs) != len(keys) {
		s.Fail("tls-key", fmt.Errorf("keys: %d, and certificates: %d: give one -tls-key for each -tls-cert, in the same order",
			len(keys), len(certs)))
		return nil
	}
	for i, cert := range certs {
		if slices.Contains(certs[:i], cert) {
			s.FailValue("tls-cert", cert, errors.New("given twice"))
		}
		pairs = append(pairs, tlsconf.Pair{Cert: cert, Key: keys[i]})
	}
	return pairs
}

// adminTLS reads the names of the files of a tls:// admin listener, and loads these and the token
// once to find faults. It also checks which of the admin listener's settings go together.
func adminTLS(s *flags.Set, c Config, minVersion uint16) tlsconf.ServerFiles {
	files := tlsconf.ServerFiles{
		Cert: s.Text("admin-tls-cert"), Key: s.Text("admin-tls-key"), ClientCA: s.Text("admin-tls-client-ca"),
		ClientCRL: s.Text("admin-tls-client-crl"), MinVersion: minVersion,
	}
	s.RequirePair("admin-tls-cert", "admin-tls-key")
	if c.Admin == "" && s.OK("admin") {
		s.RefuseWithout("admin", "admin-token-file", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca", "admin-tls-client-crl", "profiling")
	}
	speaks := strings.HasPrefix(c.Admin, "tls://")
	switch {
	case !s.OK("admin", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca"):
	case speaks && files.Cert == "":
		s.Fail("admin", errors.New("a tls:// listener needs -admin-tls-cert and -admin-tls-key"))
	case !speaks && files.Cert+files.ClientCA+files.ClientCRL != "":
		s.Fail("admin", errors.New("-admin-tls-cert, -admin-tls-key and -admin-tls-client-ca are for tls://HOST:PORT"))
	case files.ClientCA == "" && files.ClientCRL != "":
		s.Fail("admin-tls-client-crl", errors.New("only valid with -admin-tls-client-ca"))
	case speaks:
		if _, err := tlsconf.NewServer(files); err != nil {
			FailFiles(s, err, serverOptions("admin-"))
		}
	}
	if c.Profiling && c.Admin != "" && c.AdminToken == "" && files.ClientCA == "" && !admin.Authenticates(c.Admin) {
		s.Fail("profiling", errors.New("profiles are for authenticated clients, and nothing authenticates any: "+
			"set -admin-token-file, -admin unix:///PATH?mode=0660, or tls:// with -admin-tls-client-ca"))
	}
	if c.AdminToken != "" && s.OK("admin-token-file") {
		if _, err := admin.LoadToken(c.AdminToken, nil); err != nil {
			s.FailEntry("admin-token-file", c.AdminToken, err)
		}
	}
	return files
}

// targetTLS reads the names of the files for TLS targets, and loads the files once to find faults.
func targetTLS(s *flags.Set, c Config, minVersion uint16) tlsconf.ClientFiles {
	if s.OK("target", "tls-target") && !c.DialsTLS() {
		dropAll(s, "tls-target", "tls-target-ca", "tls-target-cert", "tls-target-key", "tls-target-server-name", "tls-target-skip-verify")
	}
	files := tlsconf.ClientFiles{
		CA: s.Text("tls-target-ca"), Cert: s.Text("tls-target-cert"), Key: s.Text("tls-target-key"),
		ServerName: s.Text("tls-target-server-name"), SkipVerify: s.Bool("tls-target-skip-verify"),
		MinVersion: minVersion,
	}
	s.RequirePair("tls-target-cert", "tls-target-key")
	if s.OK("target", "tls-target") && !c.DialsTLS() {
		refuseTargetTLS(s)
		return files
	}
	if s.OK("tls-target-cert", "tls-target-key") {
		if _, err := tlsconf.NewClient(files); err != nil {
			FailFiles(s, err, map[tlsconf.File]string{
				tlsconf.CAFile: "tls-target-ca", tlsconf.CertFile: "tls-target-cert", tlsconf.KeyFile: "tls-target-key",
			})
		}
	}
	return files
}

// refuseTargetTLS records options for TLS targets if there are no such targets.
func refuseTargetTLS(s *flags.Set) {
	if s.Bool("tls-target") {
		s.Fail("tls-target", errors.New("every target names another scheme: leave out the scheme, or write tls://"))
	}
	useless := errors.New("no target speaks TLS: write tls://HOST:PORT in -target, or give -tls-target")
	for _, name := range []string{"tls-target-ca", "tls-target-cert", "tls-target-key", "tls-target-server-name"} {
		if s.Text(name) != "" && s.OK(name) {
			s.Fail(name, useless)
		}
	}
	if s.Bool("tls-target-skip-verify") {
		s.Fail("tls-target-skip-verify", useless)
	}
}

// adminToken reads -admin-token-file. Without -admin it ignores a file that the environment names,
// which is meant for linesplit ctl.
func adminToken(s *flags.Set) string {
	if s.Text("admin") == "" {
		s.IgnoreWithout("admin", "admin-token-file")
	}
	return s.Text("admin-token-file")
}

// parseAdmin checks the address of -admin, which may be empty.
func parseAdmin(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	spec, err := admin.ParseSpec(text)
	if err == nil {
		err = spec.Check()
	}
	return text, err
}
