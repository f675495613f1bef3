package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/admin"
	"linesplit/listen"
	"linesplit/splitter"
	"linesplit/target"
	"linesplit/tlsconf"
)

// config is a whole, valid configuration. Sizes are bytes.
type config struct {
	Mode           mode
	Listen         []listen.Spec // at least one, no two alike
	ReusePort      bool          // the places may be another process's that is about to end
	MaxConnections int           // 0: as many as the descriptor limit allows, less what the targets need
	Access         access

	Targets          []target.Address // at least one, no two alike
	Connections      int              // to each target
	DialTimeout      time.Duration
	FailbackInterval time.Duration
	Health           checking
	Forward          forwarding // of use in connection mode

	Buffer   int64
	MaxLine  int64
	Oversize splitter.Oversize
	Queue    int // buffers
	Memory   int64

	StallTimeout time.Duration
	DeadTimeout  time.Duration
	ResendMargin int64
	ResendMax    int64
	ResendAge    time.Duration
	DrainTimeout time.Duration

	ServerTLS tlsconf.ServerFiles // of use where listensTLS; its files were readable and valid; no Logger yet
	TargetTLS tlsconf.ClientFiles // of use where dialsTLS; as above

	Admin      string // as admin.ParseSpec reads it; empty: no admin listener
	AdminToken string // file; empty: none
	AdminTLS   tlsconf.ServerFiles
	Profiling  bool

	Shown      []admin.Setting        // all settings of the mode, as they were written
	compared   []pair                 // the same, with secrets
	tlsTargets bool                   // targets without a scheme speak TLS
	again      func() (config, error) // parses the same flags, and what environment and file say by then

	LogLevel  slog.Level
	LogFormat string // text or json
}

// listensTLS says whether any listener speaks TLS.
func (c config) listensTLS() bool {
	for _, spec := range c.Listen {
		if spec.TLS() {
			return true
		}
	}
	return false
}

// dialsTLS says whether any target speaks TLS.
func (c config) dialsTLS() bool {
	for _, a := range c.Targets {
		if a.Scheme == target.SchemeTLS {
			return true
		}
	}
	return false
}

// configErrors is everything that is wrong with a configuration, one error for each fault.
type configErrors []error

func (e configErrors) Unwrap() []error { return e }

// Error names all the faults, one a line.
func (e configErrors) Error() string {
	text := e[0].Error()
	if len(e) > 1 {
		text = fmt.Sprintf("%d errors in the configuration:", len(e))
		for _, err := range e {
			text += "\n  " + err.Error()
		}
	}
	return text
}

// parseConfig reads the configuration from the command line without its program name, the environment and the -config
// file. It looks at files (certificates, the directories of sockets) and opens nothing. The error is flag.ErrHelp,
// errVersion or a configErrors with all that is wrong; explain says it to a person.
func parseConfig(args []string) (config, error) {
	s, err := gather(args)
	if err != nil {
		return config{}, err
	}
	c, err := s.config()
	c.again = func() (config, error) { return parseConfig(args) }
	return c, err
}

// parseFlags is parseConfig without the environment and the file, for a run that is not to depend on where it happens.
func parseFlags(args []string) (config, error) {
	s, err := gatherFlags(args)
	if err != nil {
		return config{}, err
	}
	return s.config()
}

// config judges all values, each for itself and then together.
func (s *settings) config() (config, error) {
	c := config{
		Mode:             parsed(s, "mode", parseMode),
		Access:           s.access(),
		Health:           s.checking(),
		Forward:          s.forwarding(),
		ReusePort:        s.reusePort(),
		MaxConnections:   s.number("max-connections", 0, 1<<24),
		Connections:      s.number("connections", 1, 1024),
		DialTimeout:      s.duration("dial-timeout"),
		FailbackInterval: s.duration("failback-interval"),
		Buffer:           s.size("buffer", 512, humanize.MiByte),
		MaxLine:          s.size("max-line", 16, humanize.GiByte),
		Oversize:         parsed(s, "oversize", splitter.ParseOversize),
		Queue:            s.number("queue", 1, 1<<20),
		Memory:           s.size("memory", humanize.MiByte, 16*humanize.TiByte),
		StallTimeout:     s.stallTimeout(),
		DeadTimeout:      s.duration("dead-timeout"),
		ResendMargin:     s.size("resend-margin", 0, humanize.GiByte),
		ResendMax:        s.size("resend-max", 512, humanize.GiByte),
		ResendAge:        s.duration("resend-age"),
		DrainTimeout:     s.duration("drain-timeout"),
		Admin:            parsed(s, "admin", parseAdmin),
		AdminToken:       s.text("admin-token-file"),
		Profiling:        s.bool("profiling"),
		tlsTargets:       s.bool("tls-target"),
		LogLevel:         parsed(s, "log-level", parseLogLevel),
		LogFormat:        parsed(s, "log-format", parseLogFormat),
	}
	s.crossCheck(c)
	c.Listen = s.listeners()
	c.Targets = s.targets()
	if s.ok("mode") {
		s.refuseOtherMode(c.Mode)
		s.checkPlaces(c)
	}
	minVersion := parsed(s, "tls-min-version", tlsconf.ParseVersion)
	c.ServerTLS = s.serverTLS(c, minVersion)
	c.TargetTLS = s.targetTLS(c, minVersion)
	c.AdminTLS = s.adminTLS(c, minVersion)
	c.Shown, c.compared = s.shown(c.Mode), s.compared(c.Mode)
	if len(s.errs) > 0 {
		return config{}, configErrors(s.errs)
	}
	return c, nil
}

// explain answers what parseConfig returned in place of a configuration, and returns the exit code.
func explain(err error, stdout, stderr io.Writer) int {
	switch {
	case errors.Is(err, flag.ErrHelp):
		printHelp(stdout)
		return exitOK
	case errors.Is(err, errVersion):
		printVersion(stdout)
		return exitOK
	}
	fmt.Fprintf(stderr, "linesplit: %v\nrun linesplit -help for all flags\n", err)
	return exitUsage
}

// crossCheck looks at values that must fit each other.
func (s *settings) crossCheck(c config) {
	if s.ok("max-line", "memory") && c.MaxLine > c.Memory/4 {
		s.fail("max-line", fmt.Errorf("must be at most a quarter of -memory, which is %s", s.text("memory")))
	}
	if s.ok("buffer", "memory") && c.Buffer > c.Memory/4 {
		s.fail("buffer", fmt.Errorf("must be at most a quarter of -memory, which is %s", s.text("memory")))
	}
	if s.ok("resend-margin", "resend-max") && c.ResendMargin > c.ResendMax {
		s.fail("resend-margin", fmt.Errorf("must be at most -resend-max, which is %s", s.text("resend-max")))
	}
}

func (s *settings) reusePort() bool {
	reuse := s.bool("reuse-port")
	if reuse && runtime.GOOS != "linux" {
		s.fail("reuse-port", errors.New("works on Linux only"))
	}
	return reuse
}

// stallTimeout reads -stall-timeout, or its older name if only that was given, from wherever.
func (s *settings) stallTimeout() time.Duration {
	older := s.byName["write-timeout"]
	if !older.explicit() {
		return s.duration("stall-timeout")
	}
	stall := s.duration("write-timeout") // a bad value is an error also where the other name wins
	if s.byName["stall-timeout"].explicit() {
		stall = s.duration("stall-timeout")
	}
	return stall
}

func (s *settings) listeners() []listen.Spec {
	if !s.byName["listen"].explicit() {
		return s.defaultListener()
	}
	for _, name := range []string{"addr", "port"} {
		if s.byName[name].explicit() {
			s.fail(name, fmt.Errorf("-listen takes the place of -addr and -port: leave out either -listen or -%s", name))
		}
	}
	var specs []listen.Spec
	seen := map[string]bool{}
	for _, entry := range s.list("listen") {
		spec, err := listen.Parse(entry)
		if err == nil {
			err = spec.Check()
		}
		if err == nil && seen[place(spec.String())] {
			err = errors.New("given twice")
		}
		if err != nil {
			s.failEntry("listen", entry, err)
			continue
		}
		seen[place(spec.String())] = !strings.HasSuffix(spec.String(), ":0") // of that one everyone gets another port
		specs = append(specs, spec)
	}
	if len(specs) == 0 && s.ok("listen") {
		s.fail("listen", errors.New("no listener: write tcp://0.0.0.0:9000, for example"))
	}
	return specs
}

// defaultListener is what -addr and -port say, with TLS if there is a certificate for it.
func (s *settings) defaultListener() []listen.Spec {
	host := parsed(s, "addr", parseHost)
	port := parsed(s, "port", s.parsePort)
	if !s.ok("addr", "port") {
		return nil
	}
	scheme := "tcp"
	if s.text("tls-cert") != "" || s.text("tls-key") != "" {
		scheme = "tls"
	}
	spec, err := listen.Parse(scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		s.fail("addr", err)
		return nil
	}
	return []listen.Spec{spec}
}

func (s *settings) targets() []target.Address {
	tlsByDefault := s.bool("tls-target")
	var targets []target.Address
	seen := map[string]bool{}
	for _, entry := range s.list("target") {
		a, err := target.ParseAddress(entry, tlsByDefault)
		if err == nil && seen[place(a.String())] {
			err = errors.New("given twice")
		}
		if err != nil {
			s.failEntry("target", entry, err)
			continue
		}
		seen[place(a.String())] = true
		targets = append(targets, a)
	}
	if len(targets) == 0 && s.ok("target") {
		s.fail("target", errors.New("no target: write 10.0.0.1:9999, for example"))
	}
	return targets
}

// parseTarget reads a target that is to be added.
func (c config) parseTarget(address string) (target.Address, error) {
	a, err := target.ParseAddress(address, c.tlsTargets)
	if err != nil {
		return a, err
	}
	if err := targetFits(a, c.Mode); err != nil {
		return a, fmt.Errorf("%q: %w", address, err)
	}
	return a, nil
}

// place is what no two listeners and no two targets can share, however they use it: an address without its scheme and
// options. Host names know no case, paths do.
func place(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	rest, _, _ = strings.Cut(rest, "?")
	switch scheme {
	case target.SchemeUnix:
		return rest
	case target.SchemeUDP: // its ports are others
		return "udp " + strings.ToLower(rest)
	}
	return strings.ToLower(rest)
}

// serverTLS reads what the listeners need, and tries the files.
func (s *settings) serverTLS(c config, minVersion uint16) tlsconf.ServerFiles {
	files := tlsconf.ServerFiles{
		Cert: s.text("tls-cert"), Key: s.text("tls-key"), ClientCA: s.text("tls-client-ca"),
		MinVersion: minVersion,
	}
	s.needPair("tls-cert", "tls-key")
	listenersKnown := s.ok("listen", "addr", "port")
	switch {
	case !s.ok("tls-cert", "tls-key"):
	case listenersKnown && files.Cert == "" && c.listensTLS():
		s.fail("listen", errors.New("a tls:// listener needs -tls-cert and -tls-key"))
	case files.Cert == "" && files.ClientCA != "":
		s.fail("tls-client-ca", errors.New("of use only with -tls-cert and -tls-key"))
	case listenersKnown && files.Cert != "" && !c.listensTLS():
		s.fail("tls-cert", errors.New("no listener speaks TLS: write tls://HOST:PORT in -listen"))
	case files.Cert != "":
		if _, err := tlsconf.NewServer(files); err != nil {
			s.failFlat("-tls-cert, -tls-key, -tls-client-ca", err)
		}
	}
	return files
}

// adminTLS reads what a tls:// admin listener needs, and tries the files, the token's too.
func (s *settings) adminTLS(c config, minVersion uint16) tlsconf.ServerFiles {
	files := tlsconf.ServerFiles{
		Cert: s.text("admin-tls-cert"), Key: s.text("admin-tls-key"), ClientCA: s.text("admin-tls-client-ca"),
		MinVersion: minVersion,
	}
	s.needPair("admin-tls-cert", "admin-tls-key")
	s.needAdmin(c)
	speaks := strings.HasPrefix(c.Admin, "tls://")
	switch {
	case !s.ok("admin", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca"):
	case speaks && files.Cert == "":
		s.fail("admin", errors.New("a tls:// listener needs -admin-tls-cert and -admin-tls-key"))
	case !speaks && files.Cert+files.ClientCA != "":
		s.fail("admin", errors.New("-admin-tls-cert, -admin-tls-key and -admin-tls-client-ca are for tls://HOST:PORT"))
	case speaks:
		if _, err := tlsconf.NewServer(files); err != nil {
			s.failFlat("-admin-tls-cert, -admin-tls-key, -admin-tls-client-ca", err)
		}
	}
	if c.AdminToken != "" {
		if _, err := admin.LoadToken(c.AdminToken, nil); err != nil {
			s.errs = append(s.errs, fmt.Errorf("-admin-token-file: %w", err))
		}
	}
	return files
}

// needAdmin reports what was said about an admin listener where there is none.
func (s *settings) needAdmin(c config) {
	if c.Admin != "" || !s.ok("admin") {
		return
	}
	for _, name := range []string{"admin-token-file", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca", "profiling"} {
		if s.byName[name].explicit() {
			s.fail(name, errors.New("of use only with -admin"))
		}
	}
}

// targetTLS reads what TLS targets need, and tries the files.
func (s *settings) targetTLS(c config, minVersion uint16) tlsconf.ClientFiles {
	files := tlsconf.ClientFiles{
		CA: s.text("tls-target-ca"), Cert: s.text("tls-target-cert"), Key: s.text("tls-target-key"),
		ServerName: s.text("tls-target-server-name"), SkipVerify: s.bool("tls-target-skip-verify"),
		MinVersion: minVersion,
	}
	s.needPair("tls-target-cert", "tls-target-key")
	if s.ok("target", "tls-target") && !c.dialsTLS() {
		s.refuseTargetTLS()
		return files
	}
	if s.ok("tls-target-cert", "tls-target-key") {
		if _, err := tlsconf.NewClient(files); err != nil {
			s.failFlat("-tls-target-ca, -tls-target-cert, -tls-target-key", err)
		}
	}
	return files
}

// refuseTargetTLS reports what was said about TLS to targets, where none speaks it.
func (s *settings) refuseTargetTLS() {
	if s.bool("tls-target") {
		s.fail("tls-target", errors.New("every target names another scheme: leave out the scheme, or write tls://"))
	}
	useless := errors.New("no target speaks TLS: write tls://HOST:PORT in -target, or give -tls-target")
	for _, name := range []string{"tls-target-ca", "tls-target-cert", "tls-target-key", "tls-target-server-name"} {
		if s.text(name) != "" && s.ok(name) {
			s.fail(name, useless)
		}
	}
	if s.bool("tls-target-skip-verify") {
		s.fail("tls-target-skip-verify", useless)
	}
}

// needPair reports a certificate without a key, or the reverse.
func (s *settings) needPair(cert, key string) {
	switch hasCert, hasKey := s.text(cert) != "", s.text(key) != ""; {
	case hasCert && !hasKey:
		s.fail(cert, fmt.Errorf("needs -%s too", key))
	case hasKey && !hasCert:
		s.fail(key, fmt.Errorf("needs -%s too", cert))
	}
}

func (s *settings) number(name string, low, high int) int {
	return parsed(s, name, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("write a whole number from %d to %d", low, high)
		}
		return n, nil
	})
}

func (s *settings) size(name string, low, high int64) int64 {
	return parsed(s, name, func(text string) (int64, error) {
		n, err := parseSize(text)
		if err == nil && (n < low || n > high) {
			err = fmt.Errorf("out of bounds: write a size from %s to %s", sizeText(low), sizeText(high))
		}
		return n, err
	})
}

// parseSize reads bytes as people write them: 16384, 16KiB, 1.5MiB, 64KB.
func parseSize(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	// It reads the comma of 1,5MiB as one between thousands, and would make 15 MiB of it.
	if err != nil || n > math.MaxInt64 || strings.Contains(text, ",") {
		return 0, errors.New("no size: write bytes such as 16384, or 16KiB, 1MiB, 64KB")
	}
	return int64(n), nil
}

func sizeText(n int64) string {
	return strings.NewReplacer(" ", "", ".0", "").Replace(humanize.IBytes(uint64(n)))
}

// Bounds of every duration. The upper one keeps sums of times and durations from overflowing.
const (
	minDuration = time.Millisecond
	maxDuration = 365 * 24 * time.Hour
)

func (s *settings) duration(name string) time.Duration { return parsed(s, name, parseDuration) }

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil && text != "" && strings.Trim(text, "0123456789.") == "" {
		return 0, fmt.Errorf("no unit: write %ss or %sms", text, text)
	}
	if err != nil {
		return 0, errors.New("no duration: write 500ms, 30s, 5m or 1h30m")
	}
	if d < minDuration || d > maxDuration {
		return 0, errors.New("out of bounds: write a duration from 1ms to 8760h, a year")
	}
	return d, nil
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

func (s *settings) parsePort(text string) (int, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err == nil && n >= 0 && n <= 65535:
		return n, nil
	case strings.Contains(text, "://") && s.byName["port"].source == fromEnv:
		return 0, errors.New("no port. Kubernetes sets this variable for a Service named linesplit: " +
			"set enableServiceLinks: false in the pod, or give -port")
	}
	return 0, errors.New("no port: write a number from 0 to 65535, 0 to let the kernel choose")
}

// parseAdmin takes what admin.ParseSpec does, and nothing at all.
func parseAdmin(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	_, err := admin.ParseSpec(text)
	return text, err
}

func parseLogLevel(text string) (slog.Level, error) {
	switch strings.ToLower(text) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, errors.New("write debug, info, warn or error")
}

func parseLogFormat(text string) (string, error) {
	if text != "text" && text != "json" {
		return "", errors.New("write text or json")
	}
	return text, nil
}
