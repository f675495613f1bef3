package flags

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors holds everything that is wrong with a configuration, one error for each fault. It is
// never empty.
type Errors []error

// Unwrap returns the faults.
func (e Errors) Unwrap() []error { return e }

// Error names all faults, one a line.
func (e Errors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d errors in the configuration:", len(e))
	for _, err := range e {
		b.WriteString("\n  " + err.Error())
	}
	return b.String()
}

// Err returns the faults recorded so far as Errors, or nil.
func (s *Set) Err() error {
	if len(s.errs) == 0 {
		return nil
	}
	return s.errs
}

// AddError records a fault that belongs to no single option.
func (s *Set) AddError(err error) { s.errs = append(s.errs, err) }

// Fail records that the value in force of an option is wrong.
func (s *Set) Fail(name string, err error) { s.FailValue(name, s.Text(name), err) }

// FailValue records that a value of an option is wrong: which value, where it comes from, and why.
func (s *Set) FailValue(name, value string, err error) {
	o := s.byName[name]
	o.bad = true
	s.AddError(fmt.Errorf("-%s %q%s: %w", name, value, s.origin(o), err))
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

func (s *Set) origin(o *setting) string {
	switch o.source {
	case FromEnv:
		return " from the environment variable " + EnvName(s.env, o.Name)
	case FromFile:
		return " from the file " + s.Text(s.fileFlag)
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
