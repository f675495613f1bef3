package config

import (
	"errors"
	"slices"

	"linesplit/admin"
	"linesplit/internal/flags"
	"linesplit/tlsconf"
)

// tableKind is the first word of the tables of a TOML file: [service.NAME].
const tableKind = "service"

// Process is a complete, valid configuration of a process: its services, and the settings that
// these share.
type Process struct {
	// Config is the configuration of the only service, if that has no name. If the services have
	// names, it has only the settings that they share.
	Config
	Services []Config // at least one, in the order of the file

	StartPartial bool // start the services that can, if others cannot

	reread func() (Process, error) // see Reread
}

// Named reports whether the services have names, as they do in tables of a file.
func (p Process) Named() bool { return p.Services[0].Name != "" }

// Within returns the configuration of a service with the shared settings of a running process,
// which a reload does not change.
func (c Config) Within(process Config) Config {
	c.Loops, c.Memory = process.Loops, min(c.Memory, process.Memory)
	if c.sharesMemory {
		c.Memory = process.Memory
		i := slices.IndexFunc(c.Shown, func(s admin.Setting) bool { return s.Name == "memory" })
		if i >= 0 {
			c.Shown[i].Value = process.setting("memory").Value
		}
	}
	c.Admin, c.AdminToken, c.AdminTLS, c.Profiling = process.Admin, process.AdminToken, process.AdminTLS, process.Profiling
	return c
}

// Reread parses the command line of p once more. If Parse has made p, Reread also reads the
// environment and the file as they are now.
func (p Process) Reread() (Process, error) { return p.reread() }

// Parse reads the configuration from a command line without its program name, the environment and
// the -config file. The error is flag.ErrHelp, ErrVersion, ErrChecked together with the
// configuration, or flags.Errors with all faults together with a Process that has only Warnings.
func Parse(args []string) (Process, error) {
	s, err := parseArgs(args)
	if err != nil {
		return Process{}, err
	}
	s.ParseEnvAndFile(flags.FileOptions{EnvPrefix: EnvPrefix, FileFlag: "config", Tables: tableKind, Parts: groupParts()})
	refuseEmptyFile(s)
	check, short := s.Bool("check"), s.Bool("t")
	p, err := judgeAll(s)
	if err == nil && (check || short) {
		err = ErrChecked
	}
	p.reread = func() (Process, error) { return Parse(args) }
	return p, err
}

// ParseFlags is Parse without the environment and the file, for runs that must not depend on
// either.
func ParseFlags(args []string) (Process, error) {
	s, err := parseArgs(args)
	if err != nil {
		return Process{}, err
	}
	p, err := judgeAll(s)
	p.reread = func() (Process, error) { return ParseFlags(args) }
	return p, err
}

// judgeAll reads the services of s: those in its tables, or the only one, which s itself describes.
func judgeAll(s *flags.Set) (p Process, err error) {
	if len(s.Tables()) == 0 {
		if s.Bool("start-partial") {
			s.Fail("start-partial", errors.New("only valid with several services, which tables [service.NAME] of a .toml file describe"))
		}
		p.Config, err = judge(s)
		p.Services = []Config{p.Config}
		return p, err
	}
	p.Config, p.StartPartial = judgeShared(s), s.Bool("start-partial")
	for _, name := range s.Tables() {
		table := s.Table(name)
		c, _ := judge(table)
		s.Take(table)
		p.Services = append(p.Services, c)
	}
	checkApart(s, p.Services)
	checkParts(s, p)
	checkRounds(s, p.Services)
	if err := s.Err(); err != nil {
		return Process{Config: Config{Warnings: p.Warnings}}, err
	}
	return p, nil
}

// judgeShared reads the settings that named services share. Each service inherits their faults;
// Take records these only once.
func judgeShared(s *flags.Set) Config {
	c := Config{
		Memory:    parseMemory(s),
		Loops:     flags.Parsed(s, "loops", parseLoops),
		Admin:     flags.Parsed(s, "admin", parseAdmin),
		Profiling: s.Bool("profiling"),
		LogLevel:  flags.Parsed(s, "log-level", parseLogLevel),
		LogFormat: flags.Parsed(s, "log-format", parseLogFormat),
	}
	c.AdminToken = adminToken(s)
	c.AdminTLS = adminTLS(s, c, flags.Parsed(s, "tls-min-version", tlsconf.ParseVersion))
	c.Shown, c.compared = shown(s, isShared), written(s, isShared)
	c.Warnings = s.Warnings()
	return c
}

// isShared reports whether an option is a setting of the process. -memory is one of the process and
// of each service.
func isShared(o flags.Option) bool { return o.Shared || o.Name == "memory" }
