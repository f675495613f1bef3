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

	"github.com/pelletier/go-toml/v2"
)

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
		text := strings.ReplaceAll(v.Text, "_", "")
		if strings.HasSuffix(text, "nan") { // ParseFloat takes it without a sign only
			text = "nan"
		}
		f, _ := strconv.ParseFloat(text, 64)
		return floatText(f)
	}
	return fmt.Sprint(v.Kind, " ", v.Text)
}

func floatText(f float64) string {
	if math.IsNaN(f) { // of which there are many
		return "nan"
	}
	return fmt.Sprint(Float, " ", math.Float64bits(f))
}

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
