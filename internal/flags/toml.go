package flags

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlSuffix ends the names of files that are TOML. All others have lines "key value".
const tomlSuffix = ".toml"

// Bounds of tables.
const (
	maxTables    = 1000
	maxTableName = 63 // bytes of a name
)

// parseTOML reads a TOML file: its keys at the top for all options that are not set yet, and tables
// [KIND.NAME], which Table returns. It records all faults.
func (s *Set) parseTOML(path string) error {
	data, err := readText(path)
	if err != nil {
		return err
	}
	entries, err := tomlEntries(data)
	if err != nil {
		line := ""
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, _ := at.Position()
			line = ":" + strconv.Itoa(row)
		}
		s.AddError(fmt.Errorf("%s%s: %s", path, line, strings.TrimPrefix(err.Error(), "toml: ")))
		s.byName[s.fileFlag].bad = true
		return nil
	}
	s.now = FromFile
	for _, e := range entries {
		if fault := s.setFromTOML(e); fault != "" {
			s.AddError(fmt.Errorf("%s:%d: %s", path, e.line, fault))
		}
	}
	return nil
}

// tomlEntry is one key of a TOML file, or a table if it has no key of its own.
type tomlEntry struct {
	path   []string // of the key, with that of its table
	line   int
	header bool     // [TABLE]
	array  bool     // [[TABLE]], or a value in brackets
	values []string // as the option takes them
	lines  []int    // of the values
	truth  bool     // the value is true or false
	fault  string   // why it has no values
}

// tomlEntries returns all keys of a file in order. The library's decoder judges the whole file
// first; its parser then tells on which line a key stands.
func tomlEntries(data []byte) ([]tomlEntry, error) {
	var ignored map[string]any
	if err := toml.Unmarshal(data, &ignored); err != nil {
		return nil, err
	}
	r := tomlReader{newlines: newlinesOf(data)}
	r.parser.Reset(data)
	var table []string
	for r.parser.NextExpression() {
		switch node := r.parser.Expression(); node.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, line := r.key(nil, node)
			r.entries = append(r.entries, tomlEntry{path: path, line: line, header: true, array: node.Kind == unstable.ArrayTable})
			table = path
		case unstable.KeyValue:
			r.add(table, node)
		}
	}
	return r.entries, r.parser.Error()
}

// tomlReader collects the entries of a file.
type tomlReader struct {
	parser   unstable.Parser
	newlines []int // offsets
	entries  []tomlEntry
}

func newlinesOf(data []byte) (all []int) {
	for i, b := range data {
		if b == '\n' {
			all = append(all, i)
		}
	}
	return all
}

// key returns the whole path of a key or table, and its line.
func (r *tomlReader) key(table []string, node *unstable.Node) (path []string, line int) {
	path = append(path, table...)
	for k := node.Key(); k.Next(); {
		path = append(path, string(k.Node().Data))
		line = r.line(k.Node(), line)
	}
	return path, line
}

// line returns the line of a node, or other for one that the parser does not locate.
func (r *tomlReader) line(node *unstable.Node, other int) int {
	if node.Raw.Length == 0 {
		return other
	}
	return 1 + sort.SearchInts(r.newlines, int(node.Raw.Offset))
}

// add adds a key with its value. The keys of an inline table are those of a table.
func (r *tomlReader) add(table []string, node *unstable.Node) {
	path, line := r.key(table, node)
	e := tomlEntry{path: path, line: line}
	switch value := node.Value(); value.Kind {
	case unstable.InlineTable:
		r.entries = append(r.entries, tomlEntry{path: path, line: line, header: true})
		for c := value.Children(); c.Next(); {
			r.add(path, c.Node())
		}
		return
	case unstable.Array:
		e.array = true
		for c := value.Children(); c.Next(); {
			if c.Node().Kind != unstable.Comment {
				e.addValue(c.Node(), r.line(c.Node(), line))
			}
		}
	default:
		e.truth = value.Kind == unstable.Bool
		e.addValue(value, line)
	}
	r.entries = append(r.entries, e)
}

func (e *tomlEntry) addValue(node *unstable.Node, line int) {
	text := string(node.Data)
	switch node.Kind {
	case unstable.String, unstable.Bool:
	case unstable.Float:
		text = strings.ReplaceAll(text, "_", "")
	case unstable.Integer:
		n, err := strconv.ParseInt(text, 0, 64) // the decoder has taken it
		if err != nil {
			e.fault = "number " + quote(text) + ": " + err.Error()
		}
		text = strconv.FormatInt(n, 10)
	default:
		e.fault = "the value is neither a string, a number nor true or false: write a string, such as \"30s\""
	}
	e.values, e.lines = append(e.values, text), append(e.lines, line)
}

// setFromTOML reads one entry, and returns what is wrong with it, or nothing.
func (s *Set) setFromTOML(e tomlEntry) (fault string) {
	depth := len(e.path)
	kind, inTable := e.path[0], depth > 1
	switch {
	case s.ignore && (inTable || e.header || s.byName[e.path[0]] == nil):
		return ""
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
	case depth > 3 || depth == 3 && e.header:
		return fmt.Sprintf("unknown table [%s]", strings.Join(e.path[:3], "."))
	}
	t, fault := s.table(e)
	if fault != "" || e.header {
		return fault
	}
	return s.setEntry(t.byName, e, t.title())
}

func (s *Set) unknownTable(e tomlEntry) string {
	if s.tableKind == "" {
		return fmt.Sprintf("[%s]: this file has no tables", strings.Join(e.path, "."))
	}
	hint := fmt.Sprintf(": tables are [%s.NAME]", s.tableKind)
	if s.byName[e.path[0]] != nil {
		return fmt.Sprintf("key %s with a table for its value: write %s = \"…\"", quote(e.path[0]), e.path[0])
	}
	return fmt.Sprintf("unknown table [%s]%s", strings.Join(e.path, "."), hint)
}

// setEntry reads a key at the top of the file, or of the table with a title.
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
		return "unknown key " + quote(key) + in + s.suggest(strings.TrimLeft(key, "-"), "")
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

// Table returns the options of a table. Those that the table does not set have the values of s, but
// count as inherited; see Inherited and Drop. Table is called once for each name, after
// ParseEnvAndFile, and panics if there is no such table.
func (s *Set) Table(name string) *Set {
	for _, t := range s.tables {
		if t.name == name {
			t.inheritFrom(s)
			return t
		}
	}
	panic("flags: no table " + name)
}

// table returns the options that a table sets.
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
	t.name, t.tableKind, t.fileFlag, t.env = name, s.tableKind, s.fileFlag, s.env
	s.tables = append(s.tables, t)
	return t, ""
}

func isTableName(name string) bool {
	if name == "" || len(name) > maxTableName || name[0] == '-' || name[0] == '_' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func (s *Set) inheritFrom(top *Set) {
	for name, own := range s.byName {
		if from := top.byName[name]; own.source == FromDefault {
			own.values, own.lines, own.source, own.bad = from.values, from.lines, from.source, from.bad
			own.inherited = from.source != FromDefault
		}
	}
}

// title returns how a file names the table of s; it is empty for the top of the file.
func (s *Set) title() string {
	if s.name == "" {
		return ""
	}
	return "[" + s.tableKind + "." + s.name + "]"
}

// Inherited reports whether the option's value was written outside the table of s.
func (s *Set) Inherited(name string) bool { return s.byName[name].inherited }

// Drop gives an inherited option its default: it has no effect in this table. It reports whether
// the option was inherited.
func (s *Set) Drop(name string) bool {
	o := s.byName[name]
	if !o.inherited {
		return false
	}
	o.values, o.lines, o.source, o.inherited = nil, nil, FromDefault, false
	return true
}
