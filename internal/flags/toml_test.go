package flags

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// parseTOML reads a TOML file with tables [part.NAME], beside a command line.
func parseTOML(t testing.TB, text string, args ...string) (s *Set, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "app.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	options := append(table(), Option{Name: "log", Arg: "LEVEL", Default: "info", Shared: true})
	s = New(options)
	if err := s.ParseArgs(append([]string{"-config", path}, args...)); err != nil {
		t.Fatal(err)
	}
	s.ParseEnvAndFile(FileOptions{EnvPrefix: "APP", FileFlag: "config", Tables: "part"})
	return s, path
}

func TestTOMLValues(t *testing.T) {
	s, _ := parseTOML(t, `
port = 1_000
target = ["a:1", "b:1,c:1", 7]
size = '64KiB'   # a comment
wait = """1m"""
deep = true
log = "debug"
`)
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	if n := s.Number("port", 1, 65535); n != 1000 {
		t.Errorf("port %d", n)
	}
	if got := s.List("target"); !slices.Equal(got, []string{"a:1", "b:1", "c:1", "7"}) {
		t.Errorf("targets %q", got)
	}
	if s.Size("size", 1, 1<<20) != 64<<10 || s.Duration("wait") != time.Minute || !s.Bool("deep") || s.Text("log") != "debug" {
		t.Errorf("size %s, wait %s, deep %s, log %s", s.Text("size"), s.Text("wait"), s.Text("deep"), s.Text("log"))
	}
	if s.Err() != nil || len(s.Tables()) != 0 {
		t.Error(s.Err(), s.Tables())
	}
}

// Blanks at the ends of a string are part of it, unlike those of a line "key value".
func TestTOMLStringsKeepTheirBlanks(t *testing.T) {
	if s, _ := parseTOML(t, `size = "PING\r\n"`); s.Text("size") != "PING\r\n" {
		t.Errorf("%q", s.Text("size"))
	}
}

func TestTables(t *testing.T) {
	s, _ := parseTOML(t, `
port = 1
size = "1KiB"
[part.b]
port = 2
target = ["x:1"]
[part.a]
[part]
c.port = 3
d = {port = 0x10, deep = false}
`, "-size", "2KiB", "-wait", "9s")
	if s.Err() != nil {
		t.Error(s.Err())
	}
	if want := []string{"b", "a", "c", "d"}; !slices.Equal(s.Tables(), want) {
		t.Errorf("tables %q, want %q", s.Tables(), want)
	}
	for _, test := range []struct {
		table, option, want string
		inherited           bool
	}{
		{"b", "port", "2", false}, {"b", "target", "x:1", false}, {"b", "size", "2KiB", true}, {"b", "wait", "9s", true},
		{"c", "port", "3", false}, {"d", "port", "16", false}, {"d", "deep", "false", false}, {"d", "log", "info", false},
	} {
		p := tableOf(s, test.table)
		if p.Name() != test.table || p.Text(test.option) != test.want || p.Inherited(test.option) != test.inherited {
			t.Errorf("%s of %s: %q, inherited: %v; want %q, %v", test.option, test.table, p.Text(test.option),
				p.Inherited(test.option), test.want, test.inherited)
		}
	}
	b := tableOf(s, "b")
	if b.Drop("port") || !b.Drop("wait") || b.Given("wait") || b.Text("wait") != "5s" || s.Text("wait") != "9s" {
		t.Errorf("wait %s after Drop, at the top %s", b.Text("wait"), s.Text("wait"))
	}
}

// tableOf is Table for tests that ask several times.
func tableOf(s *Set, name string) *Set {
	if i := slices.IndexFunc(s.tables, func(t *Set) bool { return t.name == name }); s.tables[i].Given("config") {
		return s.tables[i]
	}
	return s.Table(name)
}

func TestTOMLFaults(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"syntax", "port = 1\nsize 3\n", `FILE:2: `},
		{"twice", "port = 1\nport = 2\n", `FILE:2: `},
		{"unknown key", "\nprot = 1", `FILE:2: unknown key "prot": did you mean port?`},
		{"unknown key in a table", "[part.a]\nprot = 1", `FILE:2: unknown key "prot" in [part.a]: did you mean port?`},
		{"unknown table", "[parts.a]", `FILE:1: unknown table [parts.a]: did you mean [part.NAME]?`},
		{"another table", "[other.a]", `FILE:1: unknown table [other.a]: tables are [part.NAME]`},
		{"keys of an unknown table", "[other.a]\nflag = 1\nmore = 2", `FILE:1: unknown table [other.a]: tables are [part.NAME]`},
		{"deeper table", "[part.a.b]", `FILE:1: unknown table [part.a.b]`},
		{"list of tables", "[[part]]", `FILE:1: [[part]] is a list of tables: write [part.NAME]`},
		{"no table", "[part]\nport = 1", `FILE:2: key "port" outside a table of its own: write it in [part.NAME]`},
		{"bad name", "[part.\"a b\"]", `FILE:1: [part."a b"]: a name has letters, digits`},
		{"shared key", "[part.a]\n\nlog = \"info\"", `FILE:3: key "log" in [part.a]: it is for the whole process`},
		{"file in a file", `config = "x"`, `FILE:1: misplaced key "config"`},
		{"help", `help = true`, `FILE:1: misplaced key "help"`},
		{"list for one", `port = [1, 2]`, `FILE:1: key "port" has a list for its value, and takes one`},
		{"truth", `port = true`, `FILE:1: key "port" has the value true: write port = "N"`},
		{"time", "wait = 12:00:00", `FILE:1: key "wait": the value is neither a string, a number nor true or false`},
		{"nested", `target = [["a:1"]]`, `FILE:1: key "target": the value is neither`},
		{"option with a table", "[port]\nx = 1", `FILE:1: key "port" with a table for its value`},
		{"UTF-16", "\xff\xfea\x00", `UTF-16`},
		{"endless nesting", "target = " + strings.Repeat("[", 1<<19), `nested more than`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, path := parseTOML(t, test.text)
			want := strings.ReplaceAll(test.want, "FILE", path)
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
}

// A fault names the line of its value, and the table.
func TestFaultsOfTables(t *testing.T) {
	s, path := parseTOML(t, "size = \"much\"\n[part.a]\nport = 1\ntarget = [\"a:1\",\n\"b\"]\n[part.b]\nport = 70000\n")
	for _, name := range s.Tables() {
		p := s.Table(name)
		p.Number("port", 1, 65535)
		p.Size("size", 1, 10)
		if name == "a" {
			p.FailEntry("target", "b", os.ErrInvalid)
		}
		s.Take(p)
	}
	want := "3 errors:\n  " + path + `:1: part a: size "much": not a size`
	got := s.Err().Error()
	if !strings.HasPrefix(got, want) || !strings.Contains(got, path+`:5: part a: target "b": `) ||
		!strings.Contains(got, path+`:7: part b: port "70000": `) {
		t.Error(got)
	}
}

// FuzzTOML checks that every fault of a file names the file.
func FuzzTOML(f *testing.F) {
	for _, seed := range []string{
		"port = 1\n[part.a]\ntarget = [\"a\", 'b']\n", "[part]\na = {port = 1}", "[[part]]\n", "a.b.c.d = 1", "port = 0x_1",
		"port = [[[", "size = \"\\u0000\"", "[part.a]\n[part.a]\n", "part.a.port = 1e3", "target = [1, # x\n 2]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, path := parseTOML(t, text)
		for _, name := range s.Tables() {
			p := s.Table(name)
			p.List("target")
			p.Number("port", 0, 65535)
			s.Take(p)
		}
		for _, err := range s.errs {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}
