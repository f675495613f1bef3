package tomlfile

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// show writes entries down as "LINE PATH = VALUES", where a value is "KIND:LINE TEXT".
func show(entries []Entry) (all []string) {
	kinds := map[Kind]string{String: "string", Bool: "bool", Integer: "integer", Float: "float", Other: "other"}
	for _, e := range entries {
		text := fmt.Sprintf("%d %s", e.Line, strings.Join(e.Path, "/"))
		switch {
		case e.Header && e.List:
			text += " [[]]"
		case e.Header:
			text += " []"
		case e.List:
			text += " ="
		default:
			text += " :"
		}
		for _, v := range e.Values {
			text += fmt.Sprintf(" %s:%d %s", kinds[v.Kind], v.Line, v.Text)
		}
		all = append(all, text)
	}
	return all
}

func TestRead(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"comments", "# a = 1\n\n  # b\n", nil},
		{"kinds", "a = 'x'\nb = true\nc = 0x1F\nd = 1_000\ne = 1.5\nf = inf\ng = 1979-05-27\nh = -7\n", []string{
			"1 a : string:1 x", "2 b : bool:2 true", "3 c : integer:3 31", "4 d : integer:4 1000", "5 e : float:5 1.5", "6 f : float:6 inf",
			"7 g : other:7 1979-05-27", "8 h : integer:8 -7",
		}},
		{"texts", "a = \"\\u00e9\\t\"\nb = '''\nx\ny'''\nc = \"\"\"\\\n  z\"\"\"\nd = ''\n", []string{
			"1 a : string:1 é\t", "2 b : string:2 x\ny", "5 c : string:5 z", "7 d : string:7 ",
		}},
		{"tables", "a = 1\n[b]\nc = 2\n[b.d]\n\ne = 3\n[f]\n", []string{
			"1 a : integer:1 1", "2 b []", "3 b/c : integer:3 2", "4 b/d []", "6 b/d/e : integer:6 3", "7 f []",
		}},
		{"lists of tables", "[[a]]\nb = 1\n[[a]]\nb = 2\n", []string{"1 a [[]]", "2 a/b : integer:2 1", "3 a [[]]", "4 a/b : integer:4 2"}},
		{"dotted and quoted keys", "a.b = 1\n\"c d\".'e.f' = 2\n[\"g h\".i]\nj = 3\n", []string{
			"1 a/b : integer:1 1", "2 c d/e.f : integer:2 2", "3 g h/i []", "4 g h/i/j : integer:4 3",
		}},
		{"a list", "a = ['x', 'y']\nb = []\n", []string{"1 a = string:1 x string:1 y", "2 b ="}},
		{"a list of many lines", "a = [\n  'x', # one\n  # none\n  'y',\n\n  'z',\n]\nb = 1\n", []string{
			"1 a = string:2 x string:4 y string:6 z", "8 b : integer:8 1",
		}},
		{"lists within", "a = [[1, 2], {b = 3}, 'x']\n", []string{"1 a = other:1  other:1  string:1 x"}},
		{"inline tables", "a = {b = 1, c.d = 'x', e = {f = [true]}}\n", []string{
			"1 a []", "1 a/b : integer:1 1", "1 a/c/d : string:1 x", "1 a/e []", "1 a/e/f = bool:1 true",
		}},
		{"lines that end as in Windows", "a = 1\r\n[b]\r\nc = [\r\n'x']\r\n", []string{"1 a : integer:1 1", "2 b []", "3 b/c = string:4 x"}},
	} {
		entries, err := Read([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, show(entries)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// A fault is told with the line on which it is, and without it in the text.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		name, text string
		line       int
	}{
		{"no value", "a = 1\nb =\n", 2},
		{"no equals sign", "a = 1\n\nb\n", 3},
		{"twice in a table", "a = 1\nb = 2\na = 3\n", 3},
		{"a table twice", "[a]\nb = 1\n[c]\n[a]\n", 4},
		{"a table that is a value", "a = 1\n[a.b]\n", 2},
		{"a value that is a table", "[a.b]\n[a]\nb = 1\n", 3},
		{"a list of tables that is a table", "[a]\n[[a]]\n", 2},
		{"a text that does not end", "a = 1\nb = 'x\n", 2},
		{"a list that does not end", "a = [\n1,\n", 0},
		{"a number too large", "a = 1\nb = 99999999999999999999\n", 2},
		{"a date that cannot be", "a = 2001-02-30\n", 1},
		{"bytes that are no text", "a = 1\nb = \"\xff\"\n", 2},
		{"a header that does not end", "a = 1\n[b\nc = 2\n", 2},
	} {
		entries, err := Read([]byte(test.text))
		if err == nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v", test.name, show(entries), err)
			continue
		}
		at, ok := errors.AsType[*Error](err)
		switch {
		case ok && test.line > 0 && at.Line != test.line:
			t.Errorf("%s: on line %d, want %d: %v", test.name, at.Line, test.line, err)
		case test.line > 0 && !ok:
			t.Errorf("%s: no line, want %d: %v", test.name, test.line, err)
		case err.Error() == "" || strings.HasPrefix(err.Error(), "toml:"):
			t.Errorf("%s: %q", test.name, err)
		}
	}
}

// rebuild makes of entries what the library's decoder makes of the file, with texts for all values
// that are single.
func rebuild(entries []Entry) map[string]any {
	root := map[string]any{}
	for _, e := range entries {
		at := root
		last := len(e.Path) - 1
		for _, key := range e.Path[:last] {
			at = within(at, key)
		}
		key := e.Path[last]
		switch {
		case e.Header && e.List:
			list, _ := at[key].([]any)
			at[key] = append(list, map[string]any{})
		case e.Header:
			within(at, key)
		case e.List:
			list := []any{}
			for _, v := range e.Values {
				list = append(list, single(v))
			}
			at[key] = list
		default:
			at[key] = single(e.Values[0])
		}
	}
	return root
}

// within returns the table at a key, the last one if there is a list of them.
func within(at map[string]any, key string) map[string]any {
	switch there := at[key].(type) {
	case map[string]any:
		return there
	case []any:
		return there[len(there)-1].(map[string]any)
	}
	table := map[string]any{}
	at[key] = table
	return table
}

func single(v Value) any {
	if v.Kind == Other {
		return Other
	}
	if v.Kind == Float { // the decoder has taken it, so this is no fault
		f, _ := strconv.ParseFloat(strings.ReplaceAll(v.Text, "_", ""), 64)
		return floatText(f)
	}
	return fmt.Sprint(v.Kind, " ", v.Text)
}

func floatText(f float64) string { return fmt.Sprint(Float, " ", math.Float64bits(f)) }

// flatten turns what the decoder returns into the form of rebuild.
func flatten(v any, inList bool) any {
	switch v := v.(type) {
	case map[string]any:
		table := map[string]any{}
		for key, value := range v {
			table[key] = flatten(value, false)
		}
		return table
	case []any:
		if inList {
			return Other
		}
		list := []any{}
		for _, value := range v {
			list = append(list, flatten(value, true))
		}
		return list
	case string:
		return fmt.Sprint(String, " ", v)
	case bool:
		return fmt.Sprint(Bool, " ", v)
	case int64:
		return fmt.Sprint(Integer, " ", v)
	case float64:
		return floatText(v)
	}
	return Other
}

// alike compares the two forms. A table in a list may be one of [[TABLE]], or one in braces, which
// Read leaves out.
func alike(ours, theirs any) bool {
	switch want := theirs.(type) {
	case map[string]any:
		if ours == any(Other) {
			return true
		}
		got, ok := ours.(map[string]any)
		return ok && slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) &&
			!slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(key string) bool { return !alike(got[key], want[key]) })
	case []any:
		got, ok := ours.([]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for i := range want {
			if !alike(got[i], want[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(ours, theirs)
}

// Read takes the files that the library's decoder takes, and finds the same keys and values in
// them, each on a line that there is.
func FuzzRead(f *testing.F) {
	f.Add("a = 1\n[b]\nc = ['x', 2.5, true]\n[[d]]\ne = {f = 1, g.h = 1979-05-27}\n[[d]]\n")
	f.Add("a.b = [\n  [1, 2],\n  {c = 3}, # x\n]\n")
	f.Add("\"a b\" = '''\nx'''\r\n'' = \"\\u00e9\"\n")
	f.Add("a = 0xff\nb = -0\nc = nan\nd = 1e3\ne = +1_0\n")
	f.Add("[a.b.c]\n[a]\nd = 1\n[a.b]\n")
	f.Fuzz(func(t *testing.T, text string) {
		var decoded map[string]any
		theirs := toml.Unmarshal([]byte(text), &decoded)
		entries, err := Read([]byte(text))
		if (err == nil) != (theirs == nil) {
			t.Fatalf("%q: %v, the decoder: %v", text, err, theirs)
		}
		lines := 1 + strings.Count(text, "\n")
		if at, ok := errors.AsType[*Error](err); ok && (at.Line < 1 || at.Line > lines) {
			t.Errorf("%q: a fault on line %d of %d", text, at.Line, lines)
		}
		if err != nil {
			return
		}
		last := 1
		for _, e := range entries {
			if e.Line < last || e.Line > lines {
				t.Errorf("%q: %v on line %d of %d, behind %d", text, e.Path, e.Line, lines, last)
			}
			last = e.Line
			for _, v := range e.Values {
				if v.Line < e.Line || v.Line > lines {
					t.Errorf("%q: a value of %v on line %d of %d", text, e.Path, v.Line, lines)
				}
			}
		}
		if ours, want := rebuild(entries), flatten(decoded, false); !alike(ours, want) {
			t.Errorf("%q:\n%v\nthe decoder:\n%v", text, ours, want)
		}
	})
}
