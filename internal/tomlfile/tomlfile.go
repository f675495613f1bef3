// Package tomlfile reads TOML files as lists of keys with their lines, so that errors can name the
// line of a key.
package tomlfile

import (
	"errors"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Entry is one key of a file with its value or list, or a table.
type Entry struct {
	Path   []string // the key, after those of the tables around it; at least one
	Line   int      // from 1
	Header bool     // [TABLE], [[TABLE]] or a table in braces, which have no values
	List   bool     // [[TABLE]], or a value in brackets
	Values []Value  // the elements of a list, or the single value
}

// Value is a single value, or an element of a list.
type Value struct {
	// Text is a string without its quotes and escapes, an integer in decimal, or any other value as
	// written. It is empty for a table or list within a list.
	Text string
	Line int // from 1; that of the key for a table or list within a list
	Kind Kind
}

// Kind is the type of a value.
type Kind uint8

// The kinds of values.
const (
	String Kind = iota
	Bool
	Integer
	Float
	Other // a date or time, or a table or list within a list
)

// Error is a fault in the syntax of a file.
type Error struct {
	Line int // from 1
	text string
}

// Error returns the fault without its line.
func (e *Error) Error() string { return e.text }

// Read returns all keys and tables of a file in order. The error is an [*Error] if the line of the
// fault is known.
func Read(data []byte) ([]Entry, error) {
	// The decoder finds all faults. The parser beneath it finds fewer, but tells the lines of keys.
	var ignored map[string]any
	if err := toml.Unmarshal(data, &ignored); err != nil {
		text := strings.TrimPrefix(err.Error(), "toml: ")
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, _ := at.Position()
			return nil, &Error{row, text}
		}
		return nil, errors.New(text)
	}
	r := reader{newlines: newlinesOf(data)}
	r.parser.Reset(data)
	var table []string
	for r.parser.NextExpression() {
		switch node := r.parser.Expression(); node.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, line := r.key(nil, node)
			list := node.Kind == unstable.ArrayTable
			r.entries = append(r.entries, Entry{Path: path, Line: line, Header: true, List: list})
			table = path
		case unstable.KeyValue:
			r.add(table, node)
		}
	}
	return r.entries, r.parser.Error()
}

// reader collects the entries of a file.
type reader struct {
	parser   unstable.Parser
	newlines []int // offsets of all newlines in the file, ascending
	entries  []Entry
}

func newlinesOf(data []byte) (all []int) {
	for i, b := range data {
		if b == '\n' {
			all = append(all, i)
		}
	}
	return all
}

// key returns the path of a key or table, after that of the table around it, and its line.
func (r *reader) key(table []string, node *unstable.Node) (path []string, line int) {
	path = append(path, table...)
	for k := node.Key(); k.Next(); {
		path = append(path, string(k.Node().Data))
		line = r.line(k.Node(), line)
	}
	return path, line
}

// line returns the line of a node, or other if the parser does not know its place.
func (r *reader) line(node *unstable.Node, other int) int {
	if node.Raw.Length == 0 {
		return other
	}
	return 1 + sort.SearchInts(r.newlines, int(node.Raw.Offset))
}

// add adds a key with its value. It adds the keys of an inline table like those of any other table.
func (r *reader) add(table []string, node *unstable.Node) {
	path, line := r.key(table, node)
	e := Entry{Path: path, Line: line}
	switch value := node.Value(); value.Kind {
	case unstable.InlineTable:
		e.Header = true
		r.entries = append(r.entries, e)
		for c := value.Children(); c.Next(); {
			r.add(path, c.Node())
		}
		return
	case unstable.Array:
		e.List = true
		for c := value.Children(); c.Next(); {
			if c.Node().Kind != unstable.Comment {
				e.Values = append(e.Values, valueOf(c.Node(), r.line(c.Node(), line)))
			}
		}
	default:
		e.Values = []Value{valueOf(value, line)}
	}
	r.entries = append(r.entries, e)
}

func valueOf(node *unstable.Node, line int) Value {
	v := Value{Text: string(node.Data), Line: line}
	switch node.Kind {
	case unstable.String:
	case unstable.Bool:
		v.Kind = Bool
	case unstable.Integer:
		v.Kind = Integer
		if n, err := strconv.ParseInt(v.Text, 0, 64); err == nil { // the decoder has accepted it, so it is one
			v.Text = strconv.FormatInt(n, 10)
		}
	case unstable.Float:
		v.Kind = Float
	case unstable.InlineTable, unstable.Array:
		v.Kind, v.Text = Other, ""
	default:
		v.Kind = Other
	}
	return v
}
