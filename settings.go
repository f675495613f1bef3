package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/peterbourgon/ff/v3"
)

const envPrefix = "LINESPLIT"

// Bounds of the -config file, in bytes.
const (
	maxFile     = 1 << 20
	maxFileLine = 64<<10 - 1 // ff's parser takes a longer one for the end of the file
)

// errVersion is returned when -version was asked for; flag.ErrHelp is its counterpart for -help.
var errVersion = errors.New("version requested")

// source says where a value came from.
type source int

const (
	fromDefault source = iota
	fromFlag
	fromEnv
	fromFile
)

// setting is one option with what was written for it. It is a flag.Value whose Set never fails: flag and ff stop at the
// first error, and people want to see all of them at once, so values are kept as they came and judged afterwards.
type setting struct {
	option
	values  []string // as written, in order, all from the one source
	source  source
	reading *source // what is being read at the moment; not owned
	bad     bool    // an error was reported for it: no follow-up errors, please
}

func (s *setting) Set(value string) error {
	s.values = append(s.values, strings.TrimSpace(value))
	s.source = *s.reading
	return nil
}

// String returns the value that counts: the last one, or the default.
func (s *setting) String() string {
	if n := len(s.values); n > 0 {
		return s.values[n-1]
	}
	return s.value
}

// written returns all that was written, or the default.
func (s *setting) written() string {
	if len(s.values) > 1 {
		return strings.Join(s.values, ",")
	}
	return s.String()
}

// IsBoolFlag lets -tls-target stand without a value.
func (s *setting) IsBoolFlag() bool { return s.isBool() }

func (s *setting) explicit() bool { return s.source != fromDefault }

// settings are all options with their values, and everything that was found wrong with them so far.
type settings struct {
	known  []option
	stray  string    // what an argument that is no flag may have been meant for
	words  *[]string // takes arguments that are no flags; nil: there may be none
	flags  *flag.FlagSet
	byName map[string]*setting
	now    source // what is being read at the moment
	errs   []error
}

// gather reads the command line, the environment and the file, in this order of precedence. What is wrong goes to errs;
// the error it returns is flag.ErrHelp or errVersion.
func gather(args []string) (*settings, error) {
	s, err := gatherFlags(args)
	if err != nil {
		return nil, err
	}
	s.now = fromEnv
	err = ff.Parse(s.flags, nil,
		ff.WithEnvVarPrefix(envPrefix),
		ff.WithConfigFileFlag("config"),
		ff.WithConfigFileParser(s.readFile))
	if err != nil {
		s.fail("config", err)
	}
	return s, nil
}

// gatherFlags is gather for the command line alone.
func gatherFlags(args []string) (*settings, error) {
	s := newSettings(options())
	s.stray = "settings are flags, such as -target 10.0.0.1:9999, and a command (" + commandNames + ") comes first"
	s.now = fromFlag
	if err := s.readArgs(args); err != nil {
		return nil, err
	}
	if s.byName["version"].explicit() && s.bool("version") {
		return nil, errVersion
	}
	return s, nil
}

func newSettings(known []option) *settings {
	s := &settings{known: known, flags: flag.NewFlagSet("linesplit", flag.ContinueOnError), byName: map[string]*setting{}}
	s.flags.SetOutput(io.Discard)
	s.flags.Usage = func() {}
	for _, o := range known {
		if o.name == "help" { // package flag answers -help and -h itself while they are not defined
			continue
		}
		s.byName[o.name] = &setting{option: o, reading: &s.now}
		s.flags.Var(s.byName[o.name], o.name, o.help)
	}
	return s
}

// readArgs reads the whole command line: behind something that is no flag of ours it goes on.
func (s *settings) readArgs(args []string) error {
	for len(args) > 0 {
		err := s.flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		rest := s.flags.Args()
		switch {
		case err == nil && len(rest) > 0 && s.words != nil: // stopped before it
			*s.words = append(*s.words, rest[0])
			rest = rest[1:]
		case err == nil && len(rest) > 0:
			s.failArgument(rest[0])
			rest = rest[1:]
		case err != nil && strings.HasPrefix(err.Error(), "bad flag syntax"): // stopped before it
			s.errs = append(s.errs, fmt.Errorf("%q is no flag: write -name, -name value or -name=value", rest[0]))
			rest = rest[1:]
		case err != nil: // stopped behind it
			rest = s.failFlag(args[len(args)-len(rest)-1], rest)
		}
		args = rest
	}
	return nil
}

func (s *settings) failArgument(arg string) {
	err := fmt.Errorf("unexpected argument %q: %s", arg, s.stray)
	if _, isBool := strconv.ParseBool(arg); isBool == nil {
		err = fmt.Errorf("unexpected argument %q: a flag that is true or false takes its value with =, such as -%s=%s", arg, s.aBool(), arg)
	}
	s.errs = append(s.errs, err)
}

// aBool is the name of an option that is true or false.
func (s *settings) aBool() string {
	if i := slices.IndexFunc(s.known, option.isBool); i >= 0 {
		return s.known[i].name
	}
	return "name"
}

// failFlag reports a flag that is unknown or lacks its value. It returns the arguments to go on with: behind an unknown
// flag what looks like its value is left out, it would only make a second error of the first.
func (s *settings) failFlag(arg string, rest []string) []string {
	name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	if s.flags.Lookup(name) != nil {
		s.errs = append(s.errs, fmt.Errorf("-%s needs a value", name))
		s.byName[name].bad = true
		return rest
	}
	s.errs = append(s.errs, fmt.Errorf("unknown flag -%s%s", name, s.suggest(name, "-")))
	if !hasValue && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return rest[1:]
	}
	return rest
}

// readFile is a parser for ff: ff's plain one, except that unknown keys, and what that parser lets pass, go to errs.
func (s *settings) readFile(r io.Reader, set func(name, value string) error) error {
	s.now = fromFile
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return err
	}
	if len(data) > maxFile {
		return fmt.Errorf("more than %d bytes: surely no file of settings", maxFile)
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(line) > maxFileLine {
			return fmt.Errorf("line %d has %d bytes: %d are the most", i+1, len(line), maxFileLine)
		}
	}
	return ff.PlainParser(bytes.NewReader(data), func(key, value string) error {
		if fault, hint := s.checkKey(key, value); fault != "" {
			s.errs = append(s.errs, fmt.Errorf("%s in the file %s%s", fault, s.byName["config"], hint))
			return nil
		}
		return set(key, value)
	})
}

func (s *settings) checkKey(key, value string) (fault, hint string) {
	switch known := s.keyed(key); {
	case strings.ContainsAny(key, "=:\t"):
		return fmt.Sprintf("unknown key %q", key), ": put a space between key and value, as in port 9000"
	case known == nil:
		return fmt.Sprintf("unknown key %q", key), s.suggest(strings.TrimLeft(key, "-"), "")
	case known.name == "config" || known.name == "version":
		return fmt.Sprintf("misplaced key %q", key), ": it is for the command line only"
	case value == "true" && !known.isBool(): // what the parser makes of a key alone
		return fmt.Sprintf("key %q without a value", key), ""
	}
	return "", ""
}

// keyed returns the setting for a key in the file: ff takes the name of the environment variable too.
func (s *settings) keyed(key string) *setting {
	for name, known := range s.byName {
		if key == name || key == envName(name) {
			return known
		}
	}
	return nil
}

// suggest returns ": did you mean …?" with the nearest option, or nothing where none is near.
func (s *settings) suggest(name, prefix string) string {
	best, bestDistance := "", 3
	for _, o := range s.known {
		if d := distance(name, o.name); d < bestDistance {
			best, bestDistance = o.name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %s%s?", prefix, best)
}

// distance is the number of letters to insert, delete or change to make b of a (Levenshtein).
func distance(a, b string) int {
	if abs := len(a) - len(b); abs > 2 || abs < -2 {
		return 3 // too far to be of interest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// fail reports an error with the value that counts for an option.
func (s *settings) fail(name string, err error) { s.failValue(name, s.byName[name].String(), err) }

// failValue reports an error with a value of an option: which, from where, and what is wrong with it.
func (s *settings) failValue(name, value string, err error) {
	o := s.byName[name]
	o.bad = true
	s.errs = append(s.errs, fmt.Errorf("-%s %q%s: %w", name, value, s.origin(o), err))
}

// failEntry reports an error with one entry of a list, from a parser that puts the entry before what is wrong with it.
func (s *settings) failEntry(name, entry string, err error) {
	if bare := errors.Unwrap(err); bare != nil {
		err = bare
	}
	s.failValue(name, entry, err)
}

// failFlat reports each of the errors that err joins on its own.
func (s *settings) failFlat(names string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			s.failFlat(names, e)
		}
		return
	}
	s.errs = append(s.errs, fmt.Errorf("%s: %w", names, err))
}

func (s *settings) origin(o *setting) string {
	switch o.source {
	case fromEnv:
		return " from the environment variable " + envName(o.name)
	case fromFile:
		return " from the file " + s.byName["config"].String()
	}
	return ""
}

// ok says whether nothing was found wrong with any of the options, so that a check across them makes sense.
func (s *settings) ok(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return s.byName[name].bad })
}

func (s *settings) text(name string) string { return s.byName[name].String() }

// list returns the entries of an option that is repeatable and comma separated.
func (s *settings) list(name string) []string {
	o := s.byName[name]
	values := o.values
	if !o.explicit() && o.value != "" {
		values = []string{o.value}
	}
	all := strings.Join(values, ",")
	if strings.Trim(all, ", ") == "" {
		return nil
	}
	entries := strings.Split(all, ",")
	for i := range entries {
		if entries[i] = strings.TrimSpace(entries[i]); entries[i] == "" {
			s.failValue(name, all, errors.New("an empty entry: one comma too many?"))
		}
	}
	return slices.DeleteFunc(entries, func(e string) bool { return e == "" })
}

// parsed returns what parse makes of an option; where it cannot, the error is reported and the zero value returned.
func parsed[T any](s *settings, name string, parse func(string) (T, error)) T {
	v, err := parse(s.text(name))
	if err != nil && s.ok(name) {
		s.fail(name, err)
	}
	return v
}

func (s *settings) bool(name string) bool {
	if s.text(name) == "" && !s.byName[name].explicit() {
		return false
	}
	return parsed(s, name, func(text string) (bool, error) {
		v, err := strconv.ParseBool(text)
		if err != nil {
			return false, errors.New("write true or false")
		}
		return v, nil
	})
}
