// Package config holds linesplit's settings: it reads them from flags, environment and file, checks
// them, and decides which of them a reload can change. It reads files (certificates, tokens), and
// opens no socket.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/admin"
	"linesplit/health"
	"linesplit/internal/discovery"
	"linesplit/internal/flags"
	"linesplit/listen"
	"linesplit/relay"
	"linesplit/splitter"
	"linesplit/target"
	"linesplit/tlsconf"
	"linesplit/workerpool"
)

// EnvPrefix begins the name of each of linesplit's environment variables.
const EnvPrefix = "LINESPLIT"

// EnvName returns the name of the environment variable for a flag.
func EnvName(flag string) string { return flags.EnvName(EnvPrefix, flag) }

// ErrVersion is the error of Parse for -version, as flag.ErrHelp is for -help.
var ErrVersion = errors.New("version requested")

// ErrChecked is the error of Parse for -check, if the configuration is valid.
var ErrChecked = errors.New("configuration checked")

// Mode is the unit that linesplit forwards: lines or connections.
type Mode int

// The modes. The zero value is LineMode.
const (
	LineMode       Mode = iota // lines are spread over targets
	ConnectionMode             // whole connections and datagrams are forwarded
)

// String returns the mode as -mode takes it.
func (m Mode) String() string {
	if m == ConnectionMode {
		return scopeConnection
	}
	return scopeLine
}

// Config is a complete, valid configuration of one service. Sizes are bytes.
type Config struct {
	Name           string // of the service; empty if services have no names, and there is only one
	Mode           Mode
	Listen         []listen.Spec // at least one; no two have the same address
	ReusePort      bool          // the ports may belong to another process that is about to end
	MaxConnections int           // 0: as many as the descriptor limit allows, less what the targets need
	Access         listen.Lists
	Loops          int // number of event loops for plain connections; 0: each connection has goroutines
	DrainTimeout   time.Duration

	Targets     []target.Address // no two of the same address; each group has one, or one of Sources
	Groups      []Group          // line mode: those beside the group of -target
	Sources     []discovery.Spec // of more targets, those of the group of -target first; no two the same
	Discovery   discovery.Rules
	Resolver    string // for Sources, as discovery.ParseResolver returns it; empty for the system's servers
	DialTimeout time.Duration
	Health      health.Options // the fields Check to Fall; the caller sets the others

	// Line mode.
	Buffer      int64             // size of the first read from a sender
	Queue       int               // buffers between senders and workers
	Memory      int64             // budget for all lines that the service holds
	Connections int               // to each target, on average
	Keys        workerpool.Keys   // which lines stay together
	Lines       splitter.Tuning   // without MaxConnections and Drain
	Delivery    workerpool.Tuning // without DialOptions
	Spool       Spool

	DeadLetter     string // file for lines that targets refuse; empty: none
	DeadLetterSize int64  // limit of it, in bytes

	// Connection mode.
	Balance   string       // as relay.ParseBalance returns it
	AccessLog string       // text, json or off
	Forward   relay.Tuning // without DialOptions, Drain and MaxConnections

	Wanted         listen.Wanted // the clients of TLS listeners to serve, if Routes returns true
	TLSPassthrough bool          // connection mode: the targets do the handshake
	defaults       bool          // -sni-default is given

	ServerTLS tlsconf.ServerFiles // valid and readable if ListensTLS and not TLSPassthrough; without Logger
	TargetTLS tlsconf.ClientFiles // valid and readable if DialsTLS; without Logger

	// Settings of the process, which all services share.

	Admin      string // as admin.ParseSpec reads it; empty: no admin listener
	AdminToken string // name of the file; empty: no token
	AdminTLS   tlsconf.ServerFiles
	Profiling  bool

	LogLevel  slog.Level
	LogFormat string // text or json

	Warnings []string // sentences about environment variables that have no effect

	Shown      []admin.Setting  // all settings of the mode, as they were written, without secrets
	compared   []writtenSetting // the same settings in the same order, with secrets
	tlsTargets bool             // targets without a scheme speak TLS

	groupTables  bool // some of Groups stand in tables of a file
	sharesMemory bool // Memory is that of all services together
}

// parseArgs reads the command line.
func parseArgs(args []string) (*flags.Set, error) {
	s := flags.New(Options())
	s.ArgumentHint = "settings are flags, such as -target 10.0.0.1:9999, and a command comes before all flags"
	if err := s.ParseArgs(args); err != nil {
		return nil, err
	}
	if s.Given("version") && s.Bool("version") {
		return nil, ErrVersion
	}
	return s, nil
}

// judge reads the values of all settings of one service, and then checks which of them do not go
// together. With an error, the Config has nothing but Warnings.
func judge(s *flags.Set) (Config, error) {
	c := Config{
		Name:           s.Name(),
		Mode:           flags.Parsed(s, "mode", parseMode),
		ReusePort:      reusePort(s),
		MaxConnections: s.Number("max-connections", 0, 1<<24),
		Access:         accessLists(s),
		DrainTimeout:   s.Duration("drain-timeout"),
		Discovery:      discoveryRules(s),
		Resolver:       flags.Parsed(s, "resolver", parseResolver),
		DialTimeout:    s.Duration("dial-timeout"),
		Health:         checks(s),
		Buffer:         s.Size("buffer", 512, humanize.MiByte),
		Lines:          lines(s),
		Queue:          s.Number("queue", 1, 1<<20),
		Memory:         parseMemory(s),
		Connections:    s.Number("connections", 1, 1024),
		Keys:           keys(s),
		Delivery:       delivery(s),
		Spool:          spoolOf(s),
		DeadLetter:     flags.Parsed(s, "dead-letter", parseDeadLetter),
		DeadLetterSize: s.Size("dead-letter-size", humanize.MiByte, 16*humanize.TiByte),
		Balance:        flags.Parsed(s, "balance", relay.ParseBalance),
		Loops:          flags.Parsed(s, "loops", parseLoops),
		AccessLog:      flags.Parsed(s, "access-log", parseAccessLog),
		Forward:        forward(s),
		Admin:          flags.Parsed(s, "admin", parseAdmin),
		AdminToken:     adminToken(s),
		Profiling:      s.Bool("profiling"),
		LogLevel:       flags.Parsed(s, "log-level", parseLogLevel),
		LogFormat:      flags.Parsed(s, "log-format", parseLogFormat),
		tlsTargets:     s.Bool("tls-target"),
	}
	checkSizes(s, c)
	c.Listen = listeners(s)
	c.Targets, c.Sources = targets(s)
	groupsOf(s, &c)
	checkDiscovery(s, c)
	checkSpool(s, c)
	if s.OK("mode") {
		refuseOtherMode(s, c.Mode)
		checkAddresses(s, c)
	}
	minVersion := flags.Parsed(s, "tls-min-version", tlsconf.ParseVersion)
	c.Wanted, c.TLSPassthrough = routing(s, c)
	c.defaults = len(s.List("sni-default")) > 0
	c.sharesMemory = c.Name != "" && (s.Inherited("memory") || !s.Given("memory"))
	c.ServerTLS = serverTLS(s, c, minVersion)
	c.TargetTLS = targetTLS(s, c, minVersion)
	c.AdminTLS = adminTLS(s, c, minVersion)
	has := func(o flags.Option) bool { return inScope(o, c.Mode) && (c.Name == "" || !o.Shared) }
	c.Shown, c.compared = shown(s, has), written(s, has)
	c.showGroupTables()
	if c.Name == "" {
		c.Warnings = s.Warnings()
	}
	if err := s.Err(); err != nil {
		return Config{Warnings: c.Warnings}, err
	}
	return c, nil
}

// parseDeadLetter returns an error for a file that cannot be made where it is to be.
func parseDeadLetter(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return "", errors.New("must be a regular file, and is something else")
	}
	if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
		return "", fmt.Errorf("there is no directory %s", filepath.Dir(name))
	}
	return name, nil
}

func parseMemory(s *flags.Set) int64 { return s.Size("memory", humanize.MiByte, 16*humanize.TiByte) }

// checkSizes records sizes that do not fit each other.
func checkSizes(s *flags.Set, c Config) {
	if s.OK("max-line", "memory") && !c.fitsMemory(int64(c.Lines.MaxLine)) {
		s.Fail("max-line", fmt.Errorf("must be at most a quarter of -memory, which is %s", s.Text("memory")))
	}
	if s.OK("buffer", "memory") && !c.fitsMemory(c.Buffer) {
		s.Fail("buffer", fmt.Errorf("must be at most a quarter of -memory, which is %s", s.Text("memory")))
	}
	if s.OK("resend-margin", "resend-max") && c.Delivery.ResendMargin > c.Delivery.ResendMax {
		s.Fail("resend-margin", fmt.Errorf("must be at most -resend-max, which is %s", s.Text("resend-max")))
	}
}

// fitsMemory reports whether a buffer of size bytes leaves room for others in the memory budget.
func (c Config) fitsMemory(size int64) bool { return size <= c.Memory/4 }

// refuseOtherMode records a fault for every option that is given and has no effect in the mode.
func refuseOtherMode(s *flags.Set, m Mode) {
	for _, o := range s.Options() {
		if s.Has(o.Name) && !inScope(o, m) && s.Given(o.Name) && !s.Drop(o.Name) {
			s.Fail(o.Name, fmt.Errorf("only valid with -mode %s, and this is -mode %s", o.Scope, m))
		}
	}
}

// inScope reports whether an option is valid in a mode.
func inScope(o flags.Option, m Mode) bool { return o.Scope == "" || o.Scope == m.String() }

// reusePort reads -reuse-port.
func reusePort(s *flags.Set) bool {
	reuse := s.Bool("reuse-port")
	if reuse && runtime.GOOS != "linux" {
		s.Fail("reuse-port", errors.New("works on Linux only"))
	}
	return reuse
}

// processors is GOMAXPROCS at the start of the program, where it follows a container's CPU limit.
// Event loops raise it later.
var processors = runtime.GOMAXPROCS(0)

func parseLoops(text string) (int, error) {
	const most = 256
	if text == "auto" {
		return min(processors, most), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("write auto or a whole number from 0 to %d", most)
	}
	return n, nil
}

func parseMode(text string) (Mode, error) {
	switch text {
	case "line":
		return LineMode, nil
	case "connection", "l4":
		return ConnectionMode, nil
	}
	return 0, errors.New("write line, connection, or l4 for connection")
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
