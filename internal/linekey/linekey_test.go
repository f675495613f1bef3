package linekey

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

func rule(t testing.TB, text string) *Rule {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// noKey stands where a line has no key.
const noKey = "<none>"

// finds are lines and the keys that rules find in them.
var finds = []struct{ rule, line, key string }{ // read-only
	{"field:1", "GET /x 200\n", "GET"},
	{"field:2", "  GET \t /x 200\r\n", "/x"},
	{"field:3", "GET /x 200", "200"},
	{"field:3", "GET /x 200\r\n", "200"},
	{"field:4", "GET /x 200\n", noKey},
	{"field:1", " \t\n", noKey},
	{"field:1", "\n", noKey},

	{"until:|", "a.b|3|c\n", "a.b"},
	{"until::", "reqs:1|c\n", "reqs"},
	{"until:space", "a.b 3 17\n", "a.b"},
	{"until:tab", "a b\tc\n", "a b"},
	{"until:§", "ä§ö\n", "ä"},
	{"until:|", "|3\n", noKey},
	{"until:|", "no end\n", noKey},

	{"connection", "line\n", noKey},

	{"json:a", `{"a":"x"}` + "\n", "x"},
	{"json:a", ` { "b" : [ 1 , {"a":2} ] , "a" : "x" } `, "x"},
	{"json:a", `{"a":""}`, ""},
	{"json:a", `{"a":-12.5e+3,"b":1}`, "-12.5e+3"},
	{"json:a", `{"a":true}`, "true"},
	{"json:a", `{"a":false }`, "false"},
	{"json:a", `{"a":"x","a":"y"}`, "x"},
	{"json:a", `{"\u0061":"y","a":"x"}`, "y"},
	{"json:a", `{"a":"\u0078\/\n"}`, "x/\n"},
	{"json:ä", `{"\u00e4":"😀"}`, "😀"},
	{"json:ä", `{"ä":"\ud83d\ude00"}`, "😀"},
	{"json:a", `{"a":"\ud83d"}`, "\ufffd"},
	{"json:a", `{"a":"\ud83d\u0041"}`, "\ufffdA"},
	{"json:a.b", `{"a":{"c":{},"b":7}}`, "7"},
	{"json:a.b", `{"a.b":1,"a":{"b":2}}`, "2"},
	{`json:a\.b`, `{"a":{"b":2},"a.b":1}`, "1"},
	{`json:a\\`, `{"a\\":1}`, "1"},
	{"json:a", `{"a":"x"`, "x"},      // what follows the value is not looked at
	{"json:a", `{"a":"x" oops`, "x"}, // the same

	{"json:a", `{"a":1`, noKey}, // the number may have been cut off
	{"json:a", `{"a":1x}`, noKey},
	{"json:a", `{"a":01}`, noKey},
	{"json:a", `{"a":+1}`, noKey},
	{"json:a", `{"a":nul}`, noKey},
	{"json:a", `{"a":null}`, noKey},
	{"json:a", `{"a":{}}`, noKey},
	{"json:a", `{"a":[1]}`, noKey},
	{"json:a", `{"a":"x`, noKey},
	{"json:a", `{"a":"\x"}`, noKey},
	{"json:a", `{"a":"\u12g4"}`, noKey},
	{"json:a", "{\"a\":\"\x01\"}", noKey},
	{"json:a", `{}`, noKey},
	{"json:a", `[{"a":1}]`, noKey},
	{"json:a", `{"b":1}{"a":2}`, noKey},
	{"json:a", `{"b":[1,2}],"a":2}`, noKey},
	{"json:a", `{"b":[1,],"a":2}`, noKey},
	{"json:a", `{"b":{"c":1,},"a":2}`, noKey},
	{"json:a", `{"b":{1:2},"a":2}`, noKey},
	{"json:a", `{"b":1,,"a":2}`, noKey},
	{"json:a", `{"b" 1,"a":2}`, noKey},
	{"json:a", `{,"a":2}`, noKey},
	{"json:a", `{"A":2}`, noKey},
	{"json:a", "", noKey},
	{"json:a", "plain text\n", noKey},
	{"json:a.b", `{"a":{},"a":{"b":2}}`, noKey}, // the first a counts
	{"json:a.b", `{"a":3,"a":{"b":2}}`, noKey},
	{"json:a", `{"b":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `,"a":2}`, "2"},
	{"json:a", `{"b":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `,"a":2}`, noKey},
}

func TestFind(t *testing.T) {
	for _, tc := range finds {
		got, ok := rule(t, tc.rule).Find([]byte(tc.line))
		switch {
		case ok != (tc.key != noKey):
			t.Errorf("%s in %q: has a key: %v, want %q", tc.rule, tc.line, ok, tc.key)
		case ok && got != xxhash.Sum64String(tc.key):
			t.Errorf("%s in %q: the key is not %q", tc.rule, tc.line, tc.key)
		}
	}
}

// Keys keep their targets when linesplit restarts, so hashes must never change.
func TestHashesAreStable(t *testing.T) {
	got, _ := rule(t, "json:host").Find([]byte(`{"host":"web-1"}`))
	if want := uint64(0x76bb7f5268425048); got != want {
		t.Errorf("the hash of web-1 is %#x, was %#x", got, want)
	}
	if got, want := HashNumber(7), uint64(0x876cd406afde455); got != want {
		t.Errorf("the hash of number 7 is %#x, was %#x", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct{ rule, want string }{
		{"", "write json:PATH"},
		{"json", "write json:PATH"},
		{"yaml:a", "write json:PATH"},
		{"connection:x", "write json:PATH"},
		{"json:", "a name in the path is empty"},
		{"json:a..b", "a name in the path is empty"},
		{"json:a.", "a name in the path is empty"},
		{`json:a\b`, "a backslash stands before"},
		{`json:a\`, "a backslash stands before"},
		{"json:\xff", "not valid UTF-8"},
		{"field:0", "from 1 to 10000"},
		{"field:-1", "from 1 to 10000"},
		{"field:x", "from 1 to 10000"},
		{"field:10001", "from 1 to 10000"},
		{"until:", "write one character"},
		{"until:ab", "write one character"},
		{"until:\n", "a line ends before"},
		{"until:\xff", "not valid UTF-8"},
	} {
		if _, err := Parse(tc.rule); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Parse(%q): %v, want %q", tc.rule, err, tc.want)
		}
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	for _, tc := range []struct{ rule, line string }{
		{"json:a.b", `{"x":[{}],"a":{"b":"plain"}}`},
		{"json:a.b", `{"x":[{}],"\u0061":{"b":"\ud83d\ude00\t"}}`},
		{"field:2", "a b c"},
		{"until:|", "a|b"},
	} {
		r, line := rule(t, tc.rule), []byte(tc.line)
		if n := testing.AllocsPerRun(100, func() { r.Find(line) }); n != 0 {
			t.Errorf("%s in %s: %v allocations", tc.rule, tc.line, n)
		}
	}
}

// model returns the key that encoding/json finds, token by token.
func model(line []byte, path []string) (key string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	for range path {
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return "", false
		}
		if !toMember(d, path[0]) {
			return "", false
		}
		path = path[1:]
	}
	switch t, err := d.Token(); v := t.(type) {
	case string:
		return v, err == nil
	case json.Number:
		return v.String(), err == nil
	case bool:
		b, _ := json.Marshal(v)
		return string(b), err == nil
	}
	return "", false
}

// toMember reads up to the value of the first member with a name.
func toMember(d *json.Decoder, name string) bool {
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return false
		}
		if t == name {
			return true
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return false
		}
	}
	return false
}

func FuzzJSON(f *testing.F) {
	for _, line := range []string{
		`{"a":{"b":"x"}}`, `{"c":[1,{"d":null}],"a":{"b":1e5}}`, `{"\u0061":{"b":"\ud83d\ude00"}}`,
		`{"a":1,"a":2}`, `{"b":true,"a":{}}`, `[`, `{"a":{"b":"\"`, `{"x":-0.5,"a":{"b":false}}`,
	} {
		f.Add([]byte(line))
	}
	rules := []*Rule{rule(f, "json:a"), rule(f, "json:a.b"), rule(f, "json:\ufffd")}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.Count(line, []byte("["))+bytes.Count(line, []byte("{")) > maxDepth {
			return
		}
		for _, r := range rules {
			got, ok := r.Find(line)
			if !utf8.Valid(line) { // encoding/json replaces bytes that are not UTF-8
				continue
			}
			want, found := model(line, r.path)
			switch {
			case ok && !found:
				t.Errorf("%s in %q: found a key, encoding/json finds none", r, line)
			case ok && got != xxhash.Sum64String(want):
				t.Errorf("%s in %q: found another key than %q", r, line, want)
			case !ok && found && json.Valid(line):
				t.Errorf("%s in %q: found no key, encoding/json finds %q", r, line, want)
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, path := range []string{"a", "a.b", `a\.b`, `\\`, ".", "ä"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := parsePath(text)
		if err != nil {
			return
		}
		// Find finds the key in an object that has the path.
		var v any = "x"
		for i := len(path) - 1; i >= 0; i-- {
			v = map[string]any{path[i]: v}
		}
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := findJSON(line, path); !ok || got != xxhash.Sum64String("x") {
			t.Errorf("path %q is not found in %s", text, line)
		}
	})
}

// benchRecord returns a record of 600 bytes with its key within the first 200.
func benchRecord() []byte {
	line := `{"time":"2026-11-29T17:35:16.123456Z","level":"info","tags":["prod","eu-west-1"],` +
		`"http":{"method":"GET","status":200,"bytes":5120},"service":"checkout","host":{"name":"web-17.example.org"},"message":"`
	return append([]byte(line+strings.Repeat("m", 597-len(line))), "\"}\n"...)
}

func BenchmarkJSON(b *testing.B) {
	r, line := rule(b, "json:host.name"), benchRecord()
	if at := bytes.Index(line, []byte(`web-17`)); at > 200 || len(line) != 600 {
		b.Fatalf("%d bytes with the key at %d", len(line), at)
	}
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, ok := r.Find(line); !ok {
			b.Fatal("no key")
		}
	}
}
