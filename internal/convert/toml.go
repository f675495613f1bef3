package convert

import (
	"errors"
	"fmt"
	"strings"

	"linesplit/internal/tomlfile"
)

// entry is one value of a structured file, a list or a single one.
type entry struct {
	path   []string // its key, with those of the tables around it
	line   int
	values []entryValue
	list   bool
	used   bool
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

// text returns the value, or the last one of a list.
func (e *entry) text() string {
	if e == nil || len(e.values) == 0 {
		return ""
	}
	return e.values[len(e.values)-1].text
}

// off reports whether the value says what linesplit does without being told: nothing, no limit, no.
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

// readTOML returns all values of a TOML file in order.
func readTOML(text []byte) (all []*entry, err error) {
	found, err := tomlfile.Read(text)
	if at, ok := errors.AsType[*tomlfile.Error](err); ok {
		return nil, fmt.Errorf("line %d: %w", at.Line, err)
	}
	for _, f := range found {
		if f.Header {
			continue
		}
		e := &entry{path: f.Path, line: f.Line, list: f.List}
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
