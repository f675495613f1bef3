package lumberjack

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendPayload(t *testing.T) {
	for line, want := range map[string]string{
		"":                     `{"message":""}`,
		"plain":                `{"message":"plain"}`,
		"crlf\r":               `{"message":"crlf\r"}`,
		"\"\\/\t\x00\x1f\x7f":  `{"message":"\"\\/\t\u0000\u001f` + "\x7f" + `"}`,
		"\u2028 é 😀":           "{\"message\":\"\u2028 é 😀\"}",
		"bad \xff\xfe \xc3":    "{\"message\":\"bad \uFFFD \uFFFD\"}",
		`{"bad":"` + "\x80\"}": "{\"bad\":\"\uFFFD\"}",
		"{\x80}":               "{\"message\":\"{\uFFFD}\"}",
		"[1]":                  `{"message":"[1]"}`,
		"null":                 `{"message":"null"}`,
		`"text"`:               `{"message":"\"text\""}`,
		"{":                    `{"message":"{"}`,
		"{} {}":                `{"message":"{} {}"}`,
	} {
		if got := string(AppendPayload([]byte("before "), []byte(line))); got != "before "+want {
			t.Errorf("%q becomes %s, want %s", line, got, want)
		}
	}
}

// These lines are objects that every server takes, and stay as they are.
var objects = []string{
	`{}`, " \t{ } \r", `{"a":1}`, `{"":{}}`, `{"a":[],"b":[1,-0,2.50,1e3,1E+3,-1e-3],"c":null,"d":true,"e":false}`,
	`{"a" : "\"\\\/\b\f\n\r\té\u00E9\ud83d\ude00" , "b":"é"}`, `{"a":1,"a":2}`, `{"max":1.7976931348623157e+308}`,
	`{"tiny":1e-400}`, `{"large":` + strings.Repeat("9", maxNumber) + `}`,
	nested(maxDepth), `{"` + strings.Repeat("n", maxName) + `":0}`,
}

// These lines are no objects, or some servers refuse them.
var others = []string{
	``, ` `, `{`, `}`, `{}}`, `{]`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`, `{1:1}`,
	`{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+-1}`, `{"a":-}`, `{"a":0x1}`,
	`{"a":NaN}`, `{"a":Infinity}`, `{"a":tru}`, `{"a":truex}`, `{"a":nul`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[`,
	`{"a":"`, `{"a":"\`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`,
	"{\"a\":\"\t\"}", "{\"a\":\"\x00\"}", "\ufeff{}", "\u00a0{}", "{}\x00", `{"a":1}x`,
	`{"a":1e309}`, `{"a":-1e400}`, `{"large":` + strings.Repeat("9", maxNumber+1) + `}`,
	`{"a":"\ud83d"}`, `{"a":"\ude00"}`, `{"a":"\ud83d\u0041"}`, `{"a":"\ud83dx"}`, `{"a":"\ud83d\ud83d"}`,
	nested(maxDepth + 1), `{"` + strings.Repeat("n", maxName+1) + `":0}`,
}

// nested returns an object with that many levels.
func nested(levels int) string {
	return `{"a":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`
}

func TestIsObject(t *testing.T) {
	for _, line := range objects {
		if !isObject([]byte(line)) || !json.Valid([]byte(line)) {
			t.Errorf("not taken for an object: %.100s", line)
		}
	}
	for _, line := range others {
		if isObject([]byte(line)) {
			t.Errorf("taken for an object: %.100s", line)
		}
	}
}

// Whatever the line, the payload is a JSON object that encoding/json decodes, and has all of the
// line.
func FuzzAppendPayload(f *testing.F) {
	for _, line := range append(objects, others...) {
		f.Add([]byte(line))
	}
	f.Add([]byte("\xff{\"a\":1}"))
	f.Add([]byte("{\"a\":\"\xed\xa0\x80\"}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		payload := AppendPayload(nil, line)
		var members map[string]any
		if err := json.Unmarshal(payload, &members); err != nil || members == nil {
			t.Fatalf("%q becomes %q: %v", line, payload, err)
		}
		if !utf8.Valid(payload) {
			t.Fatalf("%q becomes %q, which is no UTF-8", line, payload)
		}
		text := bytes.ToValidUTF8(line, []byte("\uFFFD"))
		switch {
		case bytes.Equal(payload, text):
		case len(members) != 1 || members["message"] != string(text):
			t.Fatalf("%q becomes %q", line, payload)
		case json.Valid(text) && bytes.TrimLeft(text, " \t\r\n")[0] == '{' && !unusual(text):
			t.Fatalf("%q is no object", line)
		}
	})
}

// unusual reports whether an object may be beyond the limits that servers have.
func unusual(object []byte) bool {
	return len(object) > maxDepth || bytes.ContainsAny(object, "eE") || bytes.Contains(object, []byte(`\u`))
}

// BenchmarkIsObject compares with json.Valid.
func BenchmarkIsObject(b *testing.B) {
	text := strings.Repeat("some words of a message, ", 22)
	for _, c := range []struct{ name, line string }{
		{"message", `{"host":"web-17","message":"` + text + `"}`},
		{"members", `{` + strings.Repeat(`"name":"value","n":12.5,`, 24) + `"last":[true,null]}`},
	} {
		line := []byte(c.line)
		for name, f := range map[string]func([]byte) bool{"own": isObject, "json.Valid": json.Valid} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(line)))
				b.ReportAllocs()
				for b.Loop() {
					if !f(line) {
						b.Fatal("no object")
					}
				}
			})
		}
	}
}
