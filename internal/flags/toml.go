package flags

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"linesplit/internal/tomlfile"
)

// tomlSuffix ends the names of files in TOML. All other files have lines "key value".
const tomlSuffix = ".toml"

// Bounds of the tables of a file.
const (
	maxTables    = 1000
	maxTableName = 63 // bytes
)

// parseTOML reads a TOML file: keys at the top, for all options that are not set yet, and tables
// [KIND.NAME], which Table returns. It records the faults of the text. The error is about reading
// the file.
func (s *Set) parseTOML(path string) error {
	data, err := readText(path)
	if err != nil {
		return err
	}
	entries, err := tomlfile.Read(data)
	if err != nil {
		line := ""
		if at, ok := errors.AsType[*tomlfile.Error](err); ok {
			line = ":" + strconv.Itoa(at.Line)
		}
		s.AddError(fmt.Errorf("%s%s: %w", path, line, s.adviseParts(err)))
		s.byName[s.fileFlag].bad = true
		return nil
	}
	s.now = FromFile
	for _, e := range entries {
		if fault := s.setFromTOML(entryOf(e)); fault != "" {
			s.AddError(fmt.Errorf("%s:%d: %s", path, e.Line, fault))
		}
	}
	return nil
}

// tomlEntry is a [tomlfile.Entry] in the form that setFromTOML needs.
type tomlEntry struct {
	path   []string // the key, after those of the tables around it
	line   int      // the line of the key
	header bool     // a table
	array  bool     // [[TABLE]], or a value in brackets
	values []string // as the option takes them
	lines  []int    // the line of each value
	truth  bool     // the value is true or false
	fault  string   // the reason why no option can take the values, or ""
}

// entryOf converts the values of an entry.
func entryOf(e tomlfile.Entry) tomlEntry {
	t := tomlEntry{path: e.Path, line: e.Line, header: e.Header, array: e.List}
	for _, v := range e.Values {
		switch v.Kind {
		case tomlfile.Bool:
			t.truth = !e.List
		case tomlfile.Float:
			v.Text = strings.ReplaceAll(v.Text, "_", "")
		case tomlfile.Other:
			t.fault = "the value is neither a string, a number nor true or false: write a string, such as \"30s\""
		}
		t.values, t.lines = append(t.values, v.Text), append(t.lines, v.Line)
	}
	return t
}

// setFromTOML stores the values of one entry. It returns the fault of the entry, or "".
func (s *Set) setFromTOML(e tomlEntry) (fault string) {
	depth := len(e.path)
	kind, inTable := e.path[0], depth > 1
	switch {
	case s.ignore && (inTable || e.header || s.byName[e.path[0]] == nil):
		return ""
	case (inTable || e.header) && s.isPartKind(kind):
		return s.setPart(e, e.path)
	case (inTable || e.header) && (s.tableKind == "" || kind != s.tableKind):
		return s.unknownTable(e)
	case e.array && e.header:
		return fmt.Sprintf("[[%s]] is a list of tables: write [%s.NAME]", strings.Join(e.path, "."), s.tableKind)
	case e.header && depth == 1:
		return ""
	case depth == 1:
		return s.setEntry(s.byName, e, "")
	case depth == 2 && !e.header:
		return fmt.Sprintf("key %s outside a table of its own: write it in [%s.NAME]", quote(e.path[1]), kind)
	}
	isPart := depth > 2 && (depth > 3 || e.header) && s.isPartKind(e.path[2])
	if !isPart && (depth > 3 || depth == 3 && e.header) {
		return fmt.Sprintf("unknown table [%s]%s", strings.Join(e.path[:3], "."), s.suggestPart(e.path[2], kind+"."+e.path[1]+"."))
	}
	t, fault := s.table(e)
	switch {
	case fault != "" || e.header && depth == 2:
		return fault
	case isPart:
		return t.setPart(e, e.path[2:])
	}
	return s.setEntry(t.byName, e, t.title())
}

// suggestPart returns ": did you mean …?" if a word is nearly the kind of parts.
func (s *Set) suggestPart(word, before string) string {
	if s.partKind.Kind == "" || Nearest(word, []string{s.partKind.Kind}) == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean [%s%s.NAME]?", before, s.partKind.Kind)
}

// unknownTable returns the fault of a table that is not [KIND.NAME], or of a key in it.
func (s *Set) unknownTable(e tomlEntry) string {
	table := strings.Join(e.path, ".")
	if e.header {
		s.unknown = table
	} else if s.unknown == strings.Join(e.path[:len(e.path)-1], ".") {
		return "" // a key of a table whose fault is known
	}
	hint := s.suggestPart(e.path[0], "")
	switch {
	case s.tableKind == "":
		return fmt.Sprintf("[%s]: tables are not allowed in this file", table)
	case s.byName[e.path[0]] != nil:
		return fmt.Sprintf("key %s with a table for its value: write %s = \"…\"", quote(e.path[0]), e.path[0])
	case hint == "" && Nearest(e.path[0], []string{s.tableKind}) != "":
		hint = fmt.Sprintf(": did you mean [%s.NAME]?", s.tableKind)
	case hint == "" && s.partKind.Kind != "":
		hint = fmt.Sprintf(": tables are [%s.NAME] and [%s.NAME]", s.tableKind, s.partKind.Kind)
	case hint == "":
		hint = fmt.Sprintf(": tables are [%s.NAME]", s.tableKind)
	}
	return fmt.Sprintf("unknown table [%s]%s", table, hint)
}

// setEntry stores the values of a key. title is that of the key's table, or "" for a key at the top
// of the file.
func (s *Set) setEntry(options map[string]*setting, e tomlEntry, title string) (fault string) {
	key := e.path[len(e.path)-1]
	known, in := options[key], ""
	if title != "" {
		in = " in " + title
	}
	switch {
	case key == "help":
		return misplaced(key)
	case known == nil:
		hint := s.suggest(strings.TrimLeft(key, "-"), "")
		if hint == "" && s.within != nil {
			hint = s.keyNames()
		}
		return "unknown key " + quote(key) + in + hint
	case known.Name == s.fileFlag || known.CommandLine:
		return misplaced(key)
	case title != "" && known.Shared:
		return fmt.Sprintf("key %s%s: it is for the whole process: write it at the top of the file, before all tables", quote(key), in)
	case e.fault != "":
		return "key " + quote(key) + in + ": " + e.fault
	case e.array && !known.Many:
		return fmt.Sprintf("key %s%s has a list for its value, and takes one: write %s = …", quote(key), in, key)
	case e.truth && !known.isBool():
		return fmt.Sprintf("key %s%s has the value %s: write %s = %s", quote(key), in, e.values[0], key, quote(known.Arg))
	}
	if known.source == FromDefault || known.source == FromFile || title != "" {
		known.values, known.lines, known.source, known.inherited = e.values, e.lines, FromFile, false
	}
	return ""
}

// Tables returns the names of the file's tables [KIND.NAME], in order.
func (s *Set) Tables() (names []string) {
	for _, t := range s.tables {
		names = append(names, t.name)
	}
	return names
}

// Table returns the options of a table. An option that the table does not set has the value of s,
// and counts as inherited; see Inherited and Drop. The caller calls Table once for each name, after
// ParseEnvAndFile, and passes the table to Take at the end. Table panics if there is no such table.
func (s *Set) Table(name string) *Set {
	for _, t := range s.tables {
		if t.name == name {
			t.inheritFrom(s)
			t.inheritParts(s)
			return t
		}
	}
	panic("flags: no table " + name)
}

// table returns the Set of the table that an entry belongs to. It makes the Set if this is the
// first entry of the table.
func (s *Set) table(e tomlEntry) (t *Set, fault string) {
	name := e.path[1]
	for _, t := range s.tables {
		if t.name == name {
			return t, ""
		}
	}
	if !isTableName(name) {
		return nil, fmt.Sprintf("[%s.%s]: a name has letters, digits, - and _ only, begins with a letter or digit, "+
			"and is at most %d long", s.tableKind, quote(name), maxTableName)
	}
	if len(s.tables) == maxTables {
		return nil, fmt.Sprintf("[%s.%s]: more than %d tables", s.tableKind, name, maxTables)
	}
	t = New(s.options)
	t.name, t.tableKind, t.fileFlag, t.env, t.partKind = name, s.tableKind, s.fileFlag, s.env, s.partKind
	s.tables = append(s.tables, t)
	return t, ""
}

func isTableName(name string) bool {
	if name == "" || len(name) > maxTableName || name[0] == '-' || name[0] == '_' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// inheritFrom gives the options that s does not set the values of the file's top.
func (s *Set) inheritFrom(top *Set) {
	for name, own := range s.byName {
		if from := top.byName[name]; own.source == FromDefault {
			own.values, own.lines, own.source, own.bad = from.values, from.lines, from.source, from.bad
			own.inherited = from.source != FromDefault
		}
	}
}

// title returns the table of s as the file writes it, or "" if s is no table.
func (s *Set) title() string {
	if s.name == "" {
		return ""
	}
	if s.within != nil && s.within.name != "" && !s.outside {
		return "[" + s.within.partPrefix() + s.name + "]"
	}
	return "[" + s.tableKind + "." + s.name + "]"
}

// Inherited reports whether the option's value was written outside the table of s.
func (s *Set) Inherited(name string) bool { return s.byName[name].inherited }

// Drop resets an inherited option to its default, since it has no effect in this table. It reports
// whether the option was inherited.
func (s *Set) Drop(name string) bool {
	o := s.byName[name]
	if !o.inherited {
		return false
	}
	o.values, o.lines, o.source, o.inherited = nil, nil, FromDefault, false
	return true
}
