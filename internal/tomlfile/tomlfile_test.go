package tomlfile

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	got, err := Read([]byte(`size = 1_000 # a comment
on = true
[a."b c"]
names = ["x",
  'y\', # another comment
  0x10, [1]]
at = {host = "h", when = 12:00:00, rate = 1.5}
[[list]]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{Path: []string{"size"}, Line: 1, Values: []Value{{"1000", 1, Integer}}},
		{Path: []string{"on"}, Line: 2, Values: []Value{{"true", 2, Bool}}},
		{Path: []string{"a", "b c"}, Line: 3, Header: true},
		{Path: []string{"a", "b c", "names"}, Line: 4, List: true, Values: []Value{
			{"x", 4, String}, {`y\`, 5, String}, {"16", 6, Integer}, {"", 4, Other},
		}},
		{Path: []string{"a", "b c", "at"}, Line: 7, Header: true},
		{Path: []string{"a", "b c", "at", "host"}, Line: 7, Values: []Value{{"h", 7, String}}},
		{Path: []string{"a", "b c", "at", "when"}, Line: 7, Values: []Value{{"12:00:00", 7, Other}}},
		{Path: []string{"a", "b c", "at", "rate"}, Line: 7, Values: []Value{{"1.5", 7, Float}}},
		{Path: []string{"list"}, Line: 8, Header: true, List: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsHaveLines(t *testing.T) {
	for text, line := range map[string]int{"a = 1\na = 2\n": 2, "\n\nb\n": 3, "a = [1,\n2\n": 2, "[t]\n[t]": 2} {
		_, err := Read([]byte(text))
		if at, ok := errors.AsType[*Error](err); !ok || at.Line != line {
			t.Errorf("%q: %#v, want a fault in line %d", text, err, line)
		}
	}
}
