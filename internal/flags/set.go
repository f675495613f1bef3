package flags

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Source is the place that a value comes from.
type Source int

// The sources of a value. Flags win over the environment, the environment over the file.
const (
	FromDefault Source = iota
	FromFlag
	FromEnv
	FromFile
)

// setting is one option with its values. It implements flag.Value with a Set that never fails:
// package flag stops at the first error, but users want to see all errors at once. So values are
// stored first and parsed later.
type setting struct {
	Option
	values  []string // as written, in order, all from the same source
	source  Source
	lines   []int   // line of each of the values, if they come from the file
	reading *Source // Set.now of the Set
	bad     bool    // a fault was recorded for the option; checks across options leave it out

	inherited bool // the value was written outside the table of the Set
}

// Set implements flag.Value: it stores one more value.
func (s *setting) Set(value string) error {
	s.values = append(s.values, strings.TrimSpace(value))
	s.source = *s.reading
	return nil
}

// String returns the value in force: the last one written, or the default.
func (s *setting) String() string {
	if n := len(s.values); n > 0 {
		return s.values[n-1]
	}
	return s.Default
}

// IsBoolFlag implements flag's boolFlag: it reports whether the flag needs no value.
func (s *setting) IsBoolFlag() bool { return s.isBool() }

// Set holds the values of a table of options, and all faults found in them so far. Methods that
// take the name of an option panic if the table has no such option. A Set is not safe for
// concurrent use.
type Set struct {
	// ArgumentHint ends the error about an argument that is not a flag: it says what is allowed
	// instead.
	ArgumentHint string
	// TakesArguments makes ParseArgs collect arguments that are not flags; see Arguments.
	TakesArguments bool

	options   []Option
	fileFlag  string // option that names the file; empty before ParseEnvAndFile
	ignore    bool   // skip unknown keys in the file
	env       string // prefix of environment variables
	arguments []string
	flags     *flag.FlagSet
	byName    map[string]*setting
	byKey     map[string]*setting // by the names that a file may use: the option's and the variable's
	now       Source              // the source that is being read
	errs      Errors              // at most maxFaults
	more      moreFaults          // number of faults that errs has no room for
	ignored   []string            // warnings of IgnoreWithout

	tableKind string   // see FileOptions.Tables
	unknown   string   // the last table of another kind, whose keys need no faults of their own
	tables    []*Set   // tables of the file, in order
	name      string   // name of the table that this Set stands for; empty for the top of the file
	taken     []string // faults of this Set that Take has recorded, without the name of the table

	partKind Parts
	parts    []*Set // tables [KIND.NAME] of parts, in order
	within   *Set   // which this Set is a part of, else nil
	outside  bool   // a part that is inherited
	misread  bool   // see IsMisread
	line     int    // of a part
}

// New returns a Set in which every option has its default. An option named "help" is
// documentation only: ParseArgs answers -help and -h itself.
func New(options []Option) *Set {
	s := &Set{options: options, flags: flag.NewFlagSet("", flag.ContinueOnError), byName: map[string]*setting{}}
	s.flags.SetOutput(io.Discard)
	s.flags.Usage = func() {}
	for _, o := range options {
		if o.Name == "help" {
			continue
		}
		s.byName[o.Name] = &setting{Option: o, reading: &s.now}
		s.flags.Var(s.byName[o.Name], o.Name, o.Help)
	}
	return s
}

// ParseArgs reads a command line without its program name. It records all faults; the error is
// flag.ErrHelp or nil.
func (s *Set) ParseArgs(args []string) error {
	s.now = FromFlag
	for len(args) > 0 {
		err := s.flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		rest := s.flags.Args()
		switch {
		case err == nil && len(rest) > 0 && s.TakesArguments: // Parse stopped before rest[0]
			s.arguments = append(s.arguments, rest[0])
			rest = rest[1:]
		case err == nil && len(rest) > 0:
			s.failArgument(rest[0])
			rest = rest[1:]
		case err != nil && strings.HasPrefix(err.Error(), "bad flag syntax"): // Parse stopped before rest[0]
			s.AddError(fmt.Errorf("%q is no flag: write -name, -name value or -name=value", rest[0]))
			rest = rest[1:]
		case err != nil && s.TakesArguments && isNegative(args[len(args)-len(rest)-1]):
			s.arguments = append(s.arguments, args[len(args)-len(rest)-1])
		case err != nil: // Parse stopped behind the flag
			rest = s.failFlag(args[len(args)-len(rest)-1], rest)
		}
		args = rest
	}
	return nil
}

// FileOptions are the settings of ParseEnvAndFile.
type FileOptions struct {
	EnvPrefix     string // variables are EnvName(EnvPrefix, option); empty ones count as unset
	FileFlag      string // option that names the file
	IgnoreUnknown bool   // skip keys of the file that are not in the table of options
	// Tables is the KIND of the tables [KIND.NAME] that a TOML file may have; empty for no tables.
	Tables string
	Parts  Parts // the zero value: there are none
}

// ParseEnvAndFile reads the environment, and the file that an option names, for all options that
// the command line left unset. A file whose name ends with .toml is TOML; any other has lines "key
// value". ParseEnvAndFile records all faults.
func (s *Set) ParseEnvAndFile(o FileOptions) {
	s.env, s.fileFlag, s.ignore, s.tableKind, s.partKind = o.EnvPrefix, o.FileFlag, o.IgnoreUnknown, o.Tables, o.Parts
	s.byKey = map[string]*setting{}
	for name, known := range s.byName {
		s.byKey[name], s.byKey[EnvName(s.env, name)] = known, known
	}
	s.now = FromEnv
	for name, known := range s.byName {
		if value := os.Getenv(EnvName(s.env, name)); value != "" && known.source == FromDefault && !known.CommandLine {
			known.values, known.source = []string{strings.TrimSpace(value)}, FromEnv
		}
	}
	file := s.byName[s.fileFlag]
	if file.source == FromFlag && len(file.values) > 1 {
		s.Fail(s.fileFlag, fmt.Errorf("given %d times: there is one file", len(file.values)))
		return
	}
	if path := file.String(); path != "" {
		parse := s.parseFile
		if strings.HasSuffix(path, tomlSuffix) {
			parse = s.parseTOML
		}
		if err := parse(path); err != nil {
			s.Fail(s.fileFlag, err)
		}
	}
}

// Name returns the name of the file's table that s stands for, or "" if s is no table.
func (s *Set) Name() string { return s.name }

// Arguments returns the arguments that are not flags, in order. There are none unless
// TakesArguments is set.
func (s *Set) Arguments() []string { return s.arguments }

// failArgument records an argument that is not a flag.
func (s *Set) failArgument(arg string) {
	if _, err := strconv.ParseBool(arg); err == nil {
		s.AddError(fmt.Errorf("unexpected argument %q: a flag that is true or false takes its value with =, such as -%s=%s",
			arg, s.someBool(), arg))
		return
	}
	s.AddError(fmt.Errorf("unexpected argument %q: %s", arg, s.ArgumentHint))
}

// someBool returns the name of an option that is true or false, as an example.
func (s *Set) someBool() string {
	if i := slices.IndexFunc(s.options, Option.isBool); i >= 0 {
		return s.options[i].Name
	}
	return "name"
}

// isNegative reports whether an argument is a negative number, and so not a flag.
func isNegative(arg string) bool {
	_, err := strconv.ParseFloat(arg, 64)
	return err == nil && strings.HasPrefix(arg, "-")
}

// failFlag records a flag that is unknown or lacks its value, and returns the arguments to go on
// with. It skips an argument that looks like the value of an unknown flag, and would only cause a
// second error.
func (s *Set) failFlag(arg string, rest []string) []string {
	name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if known := s.byName[name]; known != nil {
		s.AddError(fmt.Errorf("-%s needs a value", name))
		known.bad = true
		return rest
	}
	s.AddError(fmt.Errorf("unknown flag -%s%s", name, s.suggest(name, "-")))
	if !hasValue && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return rest[1:]
	}
	return rest
}
