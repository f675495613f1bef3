package convert

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
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

// readTOML returns all values of a TOML file in order. The library's decoder judges the whole file
// first; its parser then tells on which line a key stands.
func readTOML(text []byte) ([]*entry, error) {
	var whole map[string]any
	if err := toml.Unmarshal(text, &whole); err != nil {
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, _ := at.Position()
			return nil, fmt.Errorf("line %d: %s", row, strings.TrimPrefix(err.Error(), "toml: "))
		}
		return nil, err
	}
	r := tomlReader{}
	for i, c := range text {
		if c == '\n' {
			r.newlines = append(r.newlines, i)
		}
	}
	r.parser.Reset(text)
	var table []string
	for r.parser.NextExpression() {
		switch node := r.parser.Expression(); node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, _ = r.key(nil, node)
		case unstable.KeyValue:
			r.add(table, node)
		}
	}
	return r.entries, r.parser.Error()
}

// tomlReader collects the values of a file.
type tomlReader struct {
	parser   unstable.Parser
	newlines []int // offsets
	entries  []*entry
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
	e := &entry{path: path, line: line}
	switch value := node.Value(); value.Kind {
	case unstable.InlineTable:
		for c := value.Children(); c.Next(); {
			r.add(path, c.Node())
		}
		return
	case unstable.Array:
		e.list = true
		for c := value.Children(); c.Next(); {
			if c.Node().Kind != unstable.Comment {
				e.values = append(e.values, entryValue{scalar(c.Node()), r.line(c.Node(), line)})
			}
		}
	default:
		e.values = []entryValue{{scalar(value), line}}
	}
	r.entries = append(r.entries, e)
}

// scalar returns a single value as text; tables and lists within a list are no such value.
func scalar(node *unstable.Node) string {
	switch node.Kind {
	case unstable.InlineTable, unstable.Array:
		return "…"
	case unstable.Integer:
		if n, err := strconv.ParseInt(string(node.Data), 0, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return string(node.Data)
}
