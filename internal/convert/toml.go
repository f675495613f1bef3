package convert

import (
	"errors"
	"fmt"
	"strings"

	"linesplit/internal/tomlfile"
)

// entry is one key of a TOML file with its value or list.
type entry struct {
	path   []string // the key, after those of the tables around it
	line   int
	values []entryValue // the elements of a list, or the single value
	used   bool         // the reader has looked at the value
}

type entryValue struct {
	text string
	line int
}

// String returns the entry as a comment names it, without passwords.
func (e *entry) String() string {
	key := e.path[len(e.path)-1]
	if strings.Contains(key, "password") || strings.Contains(key, "token") {
		return key + " = …"
	}
	var values []string
	for _, v := range e.values {
		values = append(values, v.text)
	}
	return key + " = " + strings.Join(values, ", ")
}

// text returns the value, the last one of a list, or "" if e is nil.
func (e *entry) text() string {
	if e == nil || len(e.values) == 0 {
		return ""
	}
	return e.values[len(e.values)-1].text
}

// elements returns the values, or none if e is nil.
func (e *entry) elements() []entryValue {
	if e == nil {
		return nil
	}
	return e.values
}

// off reports whether the value is empty, zero or false, so that a setting without a counterpart
// has no effect.
func (e *entry) off() bool {
	for _, v := range e.values {
		switch v.text {
		case "", "0", "0s", "0ms", "false":
		default:
			return false
		}
	}
	return true
}

// readTOML returns all keys of a TOML file in order.
func readTOML(text []byte) (all []*entry, err error) {
	found, err := tomlfile.Read(text)
	if at, ok := errors.AsType[*tomlfile.Error](err); ok {
		return nil, fmt.Errorf("line %d: %w", at.Line, err)
	}
	for _, f := range found {
		if f.Header {
			continue
		}
		e := &entry{path: f.Path, line: f.Line}
		for _, v := range f.Values {
			if v.Kind == tomlfile.Other && v.Text == "" {
				v.Text = "…"
			}
			e.values = append(e.values, entryValue{v.Text, v.Line})
		}
		all = append(all, e)
	}
	return all, err
}
