package flags

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of the text about faults, so that a log line has room for it.
const (
	maxFaults    = 100 // further ones are only counted
	maxFaultText = 1000
	maxQuote     = 200 // bytes of a value
)

// Errors holds everything that is wrong with a configuration, one error for each fault. It is
// never empty. Of very many faults the last error counts those that have none of their own.
type Errors []error

// moreFaults counts faults.
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

// AddError records a fault that belongs to no single option.
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

// full reports whether further faults are only counted, so that nothing need be said about them.
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

// quote puts a value between quotation marks, as it was written: a doubled backslash would be
// another regular expression. A long value is cut, one with control characters is escaped.
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

// FailValue records that a value of an option is wrong: which value, where it comes from, and why.
func (s *Set) FailValue(name, value string, err error) {
	o := s.byName[name]
	o.bad = true
	if o.source == FromFile && strings.HasPrefix(value, `"`) && !s.readsTOML() { // elsewhere the shell takes them away
		err = fmt.Errorf("%w; quotation marks are part of the value here: leave them out", err)
	}
	s.AddError(fmt.Errorf("%s: %w", s.place(o, value, " "+quote(value)), err))
}

// FailSecret is FailValue without the value, which is missing or must not be shown.
func (s *Set) FailSecret(name string, err error) {
	o := s.byName[name]
	o.bad = true
	s.AddError(fmt.Errorf("%s: %w", s.place(o, s.Text(name), ""), err))
}

// FailEntry records that one entry of a list is wrong. A parser's error often names the entry
// before the fault; only the fault is kept of it.
func (s *Set) FailEntry(name, entry string, err error) {
	if bare := errors.Unwrap(err); bare != nil {
		err = bare
	}
	s.FailValue(name, entry, err)
}

// FailEach records each of the errors that err joins, with what they are about before each.
func (s *Set) FailEach(about string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			s.FailEach(about, e)
		}
		return
	}
	s.AddError(fmt.Errorf("%s: %w", about, err))
}

// place names a value and where it was written. shown is how the value appears.
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

// about names the table of s in faults; it is empty for the top of the file.
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

// Take records the faults of a table of s. A fault of an inherited value is there once, with the
// first table that has it.
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

// lineOf returns ":" and the line of the file that a value, or an entry of a list, stands on. It
// returns nothing if the value was written in another form and may stand on several lines.
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

// OK reports whether no fault was recorded for any of the options, so that a check across them
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

// RefuseWithout records a fault for each of names that is given: they are only valid with the
// option needed, which the caller found missing.
func (s *Set) RefuseWithout(needed string, names ...string) {
	for _, name := range names {
		if s.Given(name) && s.OK(name, needed) {
			s.Fail(name, fmt.Errorf("only valid with -%s", needed))
		}
	}
}
