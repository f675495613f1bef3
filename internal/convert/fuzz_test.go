package convert

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// FuzzConvert checks for any input that Convert does not panic, that the result is bounded and
// valid TOML in which every service has a listener and a target, that it has as many comments as
// Missing says, and that a second call returns the same.
func FuzzConvert(f *testing.F) {
	for _, name := range inputs(f) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "")
	}
	f.Add("listen x\n bind :1-99\n server \"a\\x00\" 10.0.0.1:1 # c", "haproxy")
	f.Add("frontend a\n bind :1\n default_backend b\nbackend b\n server c \"${X[*]}\" weight 256", "haproxy")
	f.Add("[servers.\"a\\nb\"]\nbind=\":1\"\ndiscovery={kind=\"static\",static_list=[\"h:1 weight=2\",[1]]}", "gobetween")
	f.Add("rules:\n- &a {from: :1, to: [*a, 'h:2']}", "mixctl")
	f.Fuzz(func(t *testing.T, text, origin string) {
		in := Input{Name: "fuzz", Text: []byte(text), Origin: Origin(origin), Env: func(name string) (string, bool) {
			return strings.Repeat(name, 3), name != "NONE"
		}}
		result, err := Convert(in)
		if err != nil {
			return
		}
		checkResult(t, result)
		if again, err := Convert(in); err != nil || !bytes.Equal(again.TOML, result.TOML) {
			t.Fatalf("another result: %v\n%s\n%s", err, result.TOML, again.TOML)
		}
	})
}

func checkResult(t *testing.T, result Result) {
	t.Helper()
	if len(result.TOML) > maxOutput {
		t.Fatalf("%d bytes", len(result.TOML))
	}
	var decoded struct {
		Service map[string]struct{ Listen, Target any }
	}
	if err := toml.Unmarshal(result.TOML, &decoded); err != nil {
		t.Fatalf("%v\n%s", err, result.TOML)
	}
	if len(decoded.Service) != result.Services || result.Services == 0 {
		t.Fatalf("%d services, not %d\n%s", len(decoded.Service), result.Services, result.TOML)
	}
	for name, s := range decoded.Service {
		if s.Listen == nil || s.Target == nil || !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`).MatchString(name) {
			t.Fatalf("service %q\n%s", name, result.TOML)
		}
	}
	if n := bytes.Count(result.TOML, []byte("\n# no counterpart: line ")); n != result.Missing {
		t.Fatalf("%d comments for %d lines\n%s", n, result.Missing, result.TOML)
	}
}

// FuzzQuoted checks that a TOML parser reads the text that quoted has written, except for invalid
// UTF-8.
func FuzzQuoted(f *testing.F) {
	for _, text := range []string{"", "a", `"`, `\`, `'\"`, "\n", "\x00\x7f\x1b", "é\u0085", "\xff", "😀"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var decoded map[string]string
		line := "x = " + quoted(text) + " # " + clean(text, 50) + "\n"
		if err := toml.Unmarshal([]byte(line), &decoded); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if want := strings.ToValidUTF8(text, "\uFFFD"); strings.ReplaceAll(decoded["x"], "\uFFFD", "") != strings.ReplaceAll(want, "\uFFFD", "") {
			t.Fatalf("%q: %q", text, decoded["x"])
		}
	})
}
