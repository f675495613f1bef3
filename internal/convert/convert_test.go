package convert

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"linesplit/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// inputs returns the configurations in testdata.
func inputs(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(name string) bool {
		return filepath.Ext(name) == ".golden" || filepath.Base(name) == "fuzz"
	})
}

func convertFile(t testing.TB, name string) Result {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	result, err := Convert(Input{Name: name, Text: text})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return result
}

// Each configuration in testdata becomes the golden file beside it.
func TestGolden(t *testing.T) {
	for _, name := range inputs(t) {
		result := convertFile(t, name)
		golden := name + ".golden"
		if *update {
			if err := os.WriteFile(golden, result.TOML, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(result.TOML)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if n := strings.Count(string(result.TOML), "\n# no counterpart: "); n != result.Missing {
			t.Errorf("%s: %d comments for %d lines", name, n, result.Missing)
		}
	}
}

// Every key of a result is a flag of linesplit.
func TestKeysAreFlags(t *testing.T) {
	known := map[string]bool{}
	for _, o := range config.Options() {
		known[o.Name] = true
	}
	for _, name := range inputs(t) {
		for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+) =`).FindAllSubmatch(convertFile(t, name).TOML, -1) {
			if !known[string(m[1])] {
				t.Errorf("%s: no flag -%s", name, m[1])
			}
		}
	}
}

// mustConvert converts text, and returns the TOML and its decoded form.
func mustConvert(t *testing.T, origin Origin, text string) (string, map[string]any) {
	t.Helper()
	result, err := Convert(Input{Name: "x", Text: []byte(text), Origin: origin})
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	var decoded map[string]any
	if err := toml.Unmarshal(result.TOML, &decoded); err != nil {
		t.Fatalf("%s\n%v", result.TOML, err)
	}
	return string(result.TOML), decoded
}

// value returns the value of a key of a service, or nil.
func value(decoded map[string]any, service, key string) any {
	services, _ := decoded["service"].(map[string]any)
	s, _ := services[service].(map[string]any)
	return s[key]
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Origin
	}{
		{"x.toml", "", Gobetween},
		{"x.YML", "", Mixctl},
		{"haproxy.cfg", "", HAProxy},
		{"-", "# a comment\n\n[logging]\n", Gobetween},
		{"-", "bind = 3\n", Gobetween},
		{"-", "---\nrules:\n", Mixctl},
		{"-", "version: 0.1\n", Mixctl},
		{"-", "global\n  daemon\n", HAProxy},
		{"x.conf", "", HAProxy},
	} {
		if got := detect(c.name, []byte(c.text)); got != c.want {
			t.Errorf("%s %q: %s, want %s", c.name, c.text, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		origin     Origin
		text, want string
	}{
		{HAProxy, "hello\n", "no section"},
		{HAProxy, "frontend x\n bind :1\n", "no service in it that linesplit could run"},
		{HAProxy, "\xff\xfe", "UTF-8"},
		{HAProxy, "a\x00b", "NUL"},
		{Gobetween, "[servers\n", "line 1"},
		{Gobetween, "a = 1\na = 2\n", "line 2"},
		{Gobetween, "[api]\n", "no [servers.NAME]"},
		{Mixctl, "- a\n", "no rules"},
		{Mixctl, "a: [\n", "line 1"},
		{Mixctl, "rules: []\n", "no service"},
		{"nginx", "", "unknown origin"},
		{HAProxy, strings.Repeat("#", MaxSize+1), "larger than"},
	} {
		_, err := Convert(Input{Name: "x", Text: []byte(c.text), Origin: c.origin})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.40q: %v, want %s", c.origin, c.text, err, c.want)
		}
	}
}

// Without limits, a small input that refers to its parts many times would become a huge output.
func TestResultIsBounded(t *testing.T) {
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.ReplaceAll(format, "N", strconv.Itoa(1+i%65000)))
		}
		return b.String()
	}
	for _, c := range []struct {
		origin     Origin
		text, want string
	}{
		{HAProxy, lines(900, "frontend f\n bind :N\n default_backend b\n") + "backend b\n" + lines(900, " server s h:N\n"),
			"more than 20000 addresses"},
		{HAProxy, "backend b\n" + lines(20_000, " acl a src 1\n") + lines(15_000, "frontend f\n bind :N\n default_backend b\n"),
			"more than 500000 lines"},
		{HAProxy, lines(40_000, "backend b\n") + lines(20_000, "listen b\n bind :N\n"), "more than 1000 services"},
		{HAProxy, "listen l\n bind :1\n server s h:1\n" + lines(40_000, " weird N\n"), "reads files of at most"},
		{Gobetween, lines(20_000, "[servers.sN]\nbind = \":N\"\n"), "more than 1000 services"},
		{Gobetween, "[servers.s]\nbind = \":1\"\n[servers.s.discovery]\nkind=\"static\"\nstatic_list=[\n" +
			lines(20_000, "\"h:N priority=N\",\n") + "]\n", "more than 20000 addresses"},
		{Gobetween, "[servers.s]\nbind = \":1\"\n[servers.s.sni]\nhostname_matching_strategy=\"exact\"\n[servers.s.discovery]\nkind=\"static\"\nstatic_list=[\n" +
			lines(15_000, "\"h:N sni=hN.x\",\n") + "]\n", "more than 1000 services"}, // it read all backends for each
		{Mixctl, "x: &x\n" + lines(40_000, "- hN\n") + "rules:\n" + lines(900, "- {from: ':N', to: *x}\n"), "more than 20000 addresses"},
	} {
		result, err := Convert(Input{Name: "x", Text: []byte(c.text), Origin: c.origin})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(result.TOML) > 0 {
			t.Errorf("%.60q…: %d bytes, %v, want %s", c.text, len(result.TOML), err, c.want)
		}
	}
}
