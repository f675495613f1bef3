package tomlfile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// show writes entries down as "LINE PATH = VALUES", where a value is "KIND:LINE TEXT".
func show(entries []Entry) (all []string) {
	kinds := map[Kind]string{String: "string", Bool: "bool", Integer: "integer", Float: "float", Other: "other"}
	for _, e := range entries {
		var text strings.Builder
		text.WriteString(fmt.Sprintf("%d %s", e.Line, strings.Join(e.Path, "/")))
		switch {
		case e.Header && e.List:
			text.WriteString(" [[]]")
		case e.Header:
			text.WriteString(" []")
		case e.List:
			text.WriteString(" =")
		default:
			text.WriteString(" :")
		}
		for _, v := range e.Values {
			text.WriteString(fmt.Sprintf(" %s:%d %s", kinds[v.Kind], v.Line, v.Text))
		}
		all = append(all, text.String())
	}
	return all
}

func TestForms(t *testing.T) {
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
func TestFaultsInAllForms(t *testing.T) {
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
