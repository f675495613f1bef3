package flags

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of the text about faults, so that it fits into a log line.
const (
	maxFaults    = 100  // further faults are only counted
	maxFaultText = 1000 // bytes of a fault
	maxQuote     = 200  // bytes of a quoted value
)

// Errors holds all faults of a configuration, one error for each. It is never empty. If there are
// very many faults, the last error counts those that are left out.
type Errors []error

// moreFaults is the error that counts the faults that are left out.
type moreFaults int

func (n moreFaults) Error() string { return fmt.Sprintf("and %d more", int(n)) }

// Unwrap returns the faults.
func (e Errors) Unwrap() []error { return e }

// Error names all faults, one a line.
func (e Errors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	n := len(e)
	if more, found := e[n-1].(moreFaults); found {
		n += int(more) - 1
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d errors:", n)
	for _, err := range e {
		b.WriteString("\n  " + err.Error())
	}
	return b.String()
}

// Err returns the faults recorded so far as Errors, or nil.
func (s *Set) Err() error {
	switch {
	case len(s.errs) == 0:
		return nil
	case s.more > 0:
		return append(slices.Clip(s.errs), s.more)
	}
	return s.errs
}

// AddError records a fault that no single option has.
func (s *Set) AddError(err error) {
	if s.within != nil {
		s.within.AddError(err)
		return
	}
	if s.full() {
		s.more++
		return
	}
	if text := err.Error(); len(text) > maxFaultText {
		err = &longError{err, text[:maxFaultText]}
	}
	s.errs = append(s.errs, err)
}

// full reports whether further faults are only counted, so that their texts are not needed.
func (s *Set) full() bool {
	if s.within != nil {
		return s.within.full()
	}
	return len(s.errs) >= maxFaults
}

// longError shortens the text of an error.
type longError struct {
	error
	text string
}

func (e *longError) Error() string { return strings.ToValidUTF8(e.text, "") + " …" }

func (e *longError) Unwrap() error { return e.error }

// quote puts a value between quotation marks. It does not double backslashes: users would take that
// for another regular expression. It cuts a long value, and escapes one with control characters.
func quote(value string) string {
	rest := ""
	if len(value) > maxQuote {
		rest = fmt.Sprintf(" … (%d bytes)", len(value))
		value = strings.ToValidUTF8(value[:maxQuote], "")
	}
	unprintable := func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }
	if strings.ContainsFunc(value, unprintable) {
		return strconv.Quote(value) + rest
	}
	return `"` + value + `"` + rest
}

// Fail records that the value in force of an option is wrong.
func (s *Set) Fail(name string, err error) { s.FailValue(name, s.Text(name), err) }

// FailValue records that a value of an option is wrong. The fault names the value, where it was
// written, and err.
func (s *Set) FailValue(name, value string, err error) {
	o := s.byName[name]
	o.bad = true
	if o.source == FromFile && strings.HasPrefix(value, `"`) && !s.readsTOML() {
		err = fmt.Errorf("%w; quotation marks are part of the value here: leave them out", err)
	}
	s.AddError(fmt.Errorf("%s: %w", s.place(o, value, " "+quote(value)), err))
}

// FailSecret is FailValue for a value that must not be shown, or that is missing.
func (s *Set) FailSecret(name string, err error) {
	o := s.byName[name]
	o.bad = true
	s.AddError(fmt.Errorf("%s: %w", s.place(o, s.Text(name), ""), err))
}

// FailEntry records that one entry of a list is wrong. It unwraps err once: a parser's error names
// the entry, too.
func (s *Set) FailEntry(name, entry string, err error) {
	if bare := errors.Unwrap(err); bare != nil {
		err = bare
	}
	s.FailValue(name, entry, err)
}

// FailEach records each of the errors that err joins, after the text about.
func (s *Set) FailEach(about string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			s.FailEach(about, e)
		}
		return
	}
	s.AddError(fmt.Errorf("%s: %w", about, err))
}

// place returns the name of the option, followed by shown, and where value was written. shown is
// empty, or a space and the value as the fault quotes it.
func (s *Set) place(o *setting, value, shown string) string {
	table := s.about()
	switch o.source {
	case FromEnv:
		return fmt.Sprintf("%s-%s%s from the environment variable %s", table, o.Name, shown, EnvName(s.env, o.Name))
	case FromFile:
		return fmt.Sprintf("%s%s: %s%s%s", s.path(), o.lineOf(value), table, o.Name, shown)
	}
	return table + "-" + o.Name + shown
}

// about returns the name of the table of s, as faults begin with it, or "" if s is no table.
func (s *Set) about() string {
	if s.name == "" {
		return ""
	}
	about := s.tableKind + " " + s.name + ": "
	if s.within != nil {
		return s.within.about() + about
	}
	return about
}

// path returns the name of the file.
func (s *Set) path() string {
	if s.within != nil {
		return s.within.path()
	}
	return s.Text(s.fileFlag)
}

// Take records the faults of a table of s. If several tables inherit a wrong value, Take records
// the fault once, for the first of them.
func (s *Set) Take(table *Set) {
	known := map[string]bool{}
	for _, err := range s.errs {
		known[err.Error()] = true
	}
	for _, t := range s.tables {
		for _, err := range t.taken {
			known[err] = true
		}
	}
	for _, err := range table.errs {
		text := strings.Replace(err.Error(), table.about(), "", 1)
		if !known[text] {
			s.AddError(err)
			table.taken = append(table.taken, text)
		}
	}
	s.more += table.more
}

// readsTOML reports whether the file is TOML.
func (s *Set) readsTOML() bool { return strings.HasSuffix(s.path(), tomlSuffix) }

// lineOf returns ":" and the line of the file on which a value, or an entry of a list, was written.
// It returns "" if it does not find the value and the option was written on several lines.
func (o *setting) lineOf(value string) string {
	for i, written := range o.values {
		for entry := range strings.SplitSeq(written, ",") {
			if written == value || strings.TrimSpace(entry) == value {
				return ":" + strconv.Itoa(o.lines[i])
			}
		}
	}
	if len(o.lines) == 1 {
		return ":" + strconv.Itoa(o.lines[0])
	}
	return ""
}

// OK reports whether all of the options are free of faults so far, so that a check across them
// makes sense.
func (s *Set) OK(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return s.byName[name].bad })
}

// RequirePair records a fault where one of two options is given and the other is not.
func (s *Set) RequirePair(a, b string) {
	switch hasA, hasB := s.Text(a) != "", s.Text(b) != ""; {
	case hasA && !hasB:
		s.Fail(a, fmt.Errorf("needs -%s too", b))
	case hasB && !hasA:
		s.Fail(b, fmt.Errorf("needs -%s too", a))
	}
}

// RefuseWithout records a fault for each of the named options that is given: they are only valid
// with the option needed, which the caller found missing.
func (s *Set) RefuseWithout(needed string, names ...string) {
	for _, name := range names {
		if s.Given(name) && s.OK(name, needed) {
			s.Fail(name, fmt.Errorf("only valid with -%s", needed))
		}
	}
}
