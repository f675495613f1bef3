package flags

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// parseParts is parseTOML with parts [group.NAME] and [part.NAME.group.NAME].
func parseParts(t testing.TB, text string, args ...string) (s *Set, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "app.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s = New(append(table(), Option{Name: "group", Arg: "NAME=ADDRESS", Many: true}))
	if err := s.ParseArgs(append([]string{"-config", path}, args...)); err != nil {
		t.Fatal(err)
	}
	s.ParseEnvAndFile(FileOptions{EnvPrefix: "APP", FileFlag: "config", Tables: "part", Parts: Parts{
		Kind: "group",
		Options: []Option{{Name: "target", Arg: "ADDRESS", Many: true}, {Name: "required", Default: "true"},
			{Name: "size", Arg: "SIZE"}},
	}})
	return s, path
}

// writtenParts describes the parts of s in one line.
func writtenParts(s *Set) string {
	var all []string
	for _, p := range s.Parts() {
		all = append(all, strings.TrimSpace(p.Name()+" "+strings.Join(p.List("target"), ",")+" "+p.Text("required")+" "+p.Text("size")))
	}
	return strings.Join(all, "; ")
}

// Parts at the top of a file are those of its tables, too, key by key.
func TestParts(t *testing.T) {
	const text = `
[group.archive]
target = ["a:1", "b:1"]
size = "1KiB"
[group."with.dot"]
[part.x]
[part.x.group.audit]
target = "c:1"
[part.x.group.archive]
size = "2KiB"
required = false
[part.y]
[part.z]
group = []
`
	s, _ := parseParts(t, text)
	for _, test := range []struct{ table, want string }{
		{"", "archive a:1,b:1 true 1KiB; with.dot  true"},
		{"x", "with.dot  true; audit c:1 true; archive a:1,b:1 false 2KiB"},
		{"y", "archive a:1,b:1 true 1KiB; with.dot  true"},
		{"z", ""}, // its own key takes the place of all
	} {
		from := s
		if test.table != "" {
			from = s.Table(test.table)
		}
		if got := writtenParts(from); got != test.want {
			t.Errorf("%q: %q, want %q", test.table, got, test.want)
		}
		for _, p := range from.Parts() {
			if want := test.table == "y" || test.table == "x" && p.Name() == "with.dot"; p.IsInherited() != want {
				t.Errorf("%s in %s: inherited %v", p.Name(), test.table, p.IsInherited())
			}
		}
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

// A flag takes the place of what stands at the top of the file, and not of what a table has.
func TestFlagsTakeThePlaceOfParts(t *testing.T) {
	const text = "[group.archive]\ntarget = \"a:1\"\n[part.x.group.audit]\ntarget = \"b:1\"\n[part.y]\n"
	s, _ := parseParts(t, text, "-group", "z=c:1")
	for table, want := range map[string]string{"": "", "x": "audit b:1 true", "y": ""} {
		from := s
		if table != "" {
			from = s.Table(table)
		}
		if got := writtenParts(from); got != want || from.Text("group") != "z=c:1" {
			t.Errorf("%q: %q and %q, want %q", table, got, from.Text("group"), want)
		}
	}
}

func TestFaultsOfParts(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "[group.a]\ntargt = \"x\"", `FILE:2: unknown key "targt" in [group.a]: did you mean target?`},
		{"other key", "[part.p.group.a]\nport = 1", `FILE:2: unknown key "port" in [part.p.group.a]: its keys are target, required, size`},
		{"unknown table", "[gruop.a]\n", `FILE:1: unknown table [gruop.a]: did you mean [group.NAME]?`},
		{"unknown table in a table", "[part.p.grup.a]\n", `FILE:1: unknown table [part.p.grup]: did you mean [part.p.group.NAME]?`},
		{"no name", "[group]\ntarget = \"x\"", `FILE:2: key "target" outside a table of its own: write it in [group.NAME]`},
		{"no name in a table", "[part.p]\ngroup.target = 1", `FILE:2: key "target" outside a table of its own: write it in [part.p.group.NAME]`},
		{"too deep", "[group.a.b]", `FILE:1: unknown table [group.a.b]: [group.a] has no tables`},
		{"list of tables", "[[group.a]]", `FILE:1: [[group.a]] is a list of tables: write [group.NAME]`},
		{"key and table", "group = \"a=x\"\n[group.b]\n", `FILE:2: key group already exists as a value: write all as tables [group.NAME], or all of them in the key group`},
		{"twice", "[group.a]\n[group.a]\n", `FILE:2: table a already exists`},
		{"a bad value", "[part.p.group.a]\nrequired = \"perhaps\"\n", `FILE:2: part p: group a: required "perhaps": write true or false`},
		{"a bad list", "[group.a]\nsize = [1]\n", `FILE:2: key "size" in [group.a] has a list for its value`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, path := parseParts(t, test.text)
			for _, name := range s.Tables() {
				p := s.Table(name)
				for _, part := range p.Parts() {
					part.Bool("required")
				}
				s.Take(p)
			}
			want := strings.ReplaceAll(test.want, "FILE", path)
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
}

// A fault of a part at the top is there once, however many tables inherit it.
func TestFaultsOfInheritedParts(t *testing.T) {
	s, path := parseParts(t, "[group.a]\nsize = \"much\"\n[part.x]\n[part.y]\n[part.y.group.b]\n")
	for _, name := range s.Tables() {
		p := s.Table(name)
		for _, part := range p.Parts() {
			part.OptionalSize("size", 1<<20)
			if len(part.List("target")) == 0 {
				part.FailPart(os.ErrInvalid)
			}
		}
		s.Take(p)
	}
	var got []string
	for _, err := range s.Err().(Errors) {
		got = append(got, strings.ReplaceAll(err.Error(), path, "FILE"))
	}
	want := []string{
		`FILE:2: part x: group a: size "much": not a size: write bytes such as 16384, or 16KiB and 1MiB (1024s), or 64KB (1000s)`,
		`FILE:1: [group.a]: invalid argument`, `FILE:5: [part.y.group.b]: invalid argument`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// Whatever a file holds, its parts are read or refused with the place of the fault.
func FuzzParts(f *testing.F) {
	for _, seed := range []string{
		"[group.a]\ntarget = [\"a\", 'b']\n[part.x.group.a]\nsize = 1", "group.a = {target = \"x\"}", "[[group.a]]", "\"\".a = 1",
		"[part.x]\ngroup = {a = {}, b = {size = []}}", "[part.x.group]\na.b.c = 1", "[group.a]\n[part.x]\ngroup = []", "[\"\".\"\"]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, path := parseParts(t, text)
		for _, name := range append(s.Tables(), "") {
			of := s
			if name != "" {
				of = s.Table(name)
			}
			for _, p := range of.Parts() {
				p.List("target")
				p.Bool("required")
				p.OptionalSize("size", 1<<20)
			}
			if of != s {
				s.Take(of)
			}
		}
		for _, err := range s.errs {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}
