package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"linesplit/admin"
)

// parseTOML parses a TOML file beside a command line.
func parseTOML(t *testing.T, text string, args ...string) (Process, string, error) {
	t.Helper()
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "linesplit.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Parse(append([]string{"-config", path}, args...))
	return p, path, err
}

// Tables describe the same groups as -group.
func TestGroupTables(t *testing.T) {
	p, _, err := parseTOML(t, `
target = ["a:1"]
memory = "64MiB"
[group.archive]
target = ["c:1?weight=2", "tls://d:1"]
required = false
[group.audit]
target = ["e:1", "dns://g:1"]
[group.metrics]
required = false
budget = "1MiB"
target = "f:1"
`)
	if err != nil {
		t.Fatal(err)
	}
	c := p.Services[0]
	byFlag := mustParse(t, "-target", "a:1", "-memory", "64MiB",
		"-group", "archive=c:1?weight=2&required=false,tls://d:1", "-group", "audit=e:1,dns://g:1",
		"-group", "metrics=f:1?required=false&budget=1MiB")
	if !slices.Equal(c.Groups, byFlag.Groups) || !slices.Equal(c.Targets, byFlag.Targets) || !slices.Equal(c.Sources, byFlag.Sources) {
		t.Errorf("tables: %+v %v\n-group: %+v %v", c.Groups, c.Targets, byFlag.Groups, byFlag.Targets)
	}
	i := slices.IndexFunc(c.Shown, func(s admin.Setting) bool { return s.Name == "group" })
	if got := c.Shown[i]; got.Value != c.WriteGroups(c.Targets) || got.Source != admin.SourceFile || !got.Reloadable {
		t.Errorf("shown as %+v", got)
	}
}

// Groups at the top are those of all services in line mode, key by key.
func TestGroupTablesOfServices(t *testing.T) {
	p, _, err := parseTOML(t, `
target = ["a:1"]
[group.archive]
target = "c:1"
[service.a]
port = 9001
[service.b]
port = 9002
[service.b.group.archive]
required = false
budget = "128KiB"
[service.b.group.audit]
target = ["d:1"]
[service.c]
port = 9003
group = []
[service.d]
port = 9004
mode = "connection"
`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]Group{
		"a": {{"archive", true, 0}}, "b": {{"archive", false, 128 << 10}, {"audit", true, 0}}, "c": nil, "d": nil,
	}
	for _, c := range p.Services {
		groups := slices.Clone(c.Groups)
		slices.SortFunc(groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
		if !slices.Equal(groups, want[c.Name]) || len(c.Targets) != 1+len(c.Groups) {
			t.Errorf("%s: %+v with %v", c.Name, c.Groups, c.Targets)
		}
	}
}

func TestBadGroupTables(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"unknown key", "[group.x]\ntargets = \"b:1\"", `FILE:2: unknown key "targets" in [group.x]: did you mean target?`},
		{"no target", "[group.x]\nrequired = false", `FILE:1: [group.x]: the group has no target: write target =`},
		{"no target in a service", "[service.s.group.x]\n", `FILE:1: [service.s.group.x]: the group has no target`},
		{"named twice", "[group.x]\n[group.x]\n", `FILE:2: table x already exists`},
		{"by key, too", "group = \"x=b:1\"\n[service.s]\n[service.s.group.x]\ntarget = \"c:1\"", `FILE:3: [service.s.group.x]: the group x is named twice: the key group names it, too`},
		{"key and tables", "group = \"x=b:1\"\n[group.y]\ntarget = \"c:1\"", `FILE:2: key group already exists as a value: write all as tables`},
		{"main", "[group.main]\ntarget = \"b:1\"", `FILE:1: [group.main]: main is the group of the key target`},
		{"bad name", "[group.\"x y\"]\ntarget = \"b:1\"", `FILE:1: [group.x y]: a name of a group has letters`},
		{"bad address", "[group.x]\ntarget = [\"b:1\",\n\"c\"]", `FILE:3: group x: target "c": `},
		{"a bad source", "[group.x]\ntarget = \"dns://b\"", `FILE:2: group x: target "dns://b": no port`},
		{"a source of datagrams", "[group.x]\ntarget = \"dns://b:1?scheme=udp\"", `FILE:2: group x: target "dns://b:1?scheme=udp": a udp:// target is only valid`},
		{"option of the group", "[group.x]\ntarget = \"b:1?budget=1MiB\"", `FILE:2: group x: target "b:1?budget=1MiB": required and budget are keys of the table here`},
		{"in two groups", "target = \"a:1\"\n[group.x]\ntarget = \"a:1\"", `FILE:3: group x: target "a:1": the address is in the group main already`},
		{"small budget", "[group.x]\ntarget = \"b:1\"\nrequired = false\nbudget = \"5KiB\"", `FILE:4: group x: budget "5KiB": out of bounds`},
		{"budget of a required group", "[group.x]\ntarget = \"b:1\"\nbudget = \"1MiB\"", `FILE:3: group x: budget "1MiB": a required group has no budget`},
		{"budgets", "memory = \"4MiB\"\n[group.x]\ntarget = \"b:1\"\nbudget = \"3MiB\"\nrequired = false", `FILE:2: [group.x]: the budgets are 3145728 bytes in sum`},
		{"option of connection mode", "[group.x]\ntarget = \"tcp://b:1?max-connections=2\"", `FILE:2: group x: target "tcp://b:1": ?max-connections is only valid`},
		{"connection mode", "mode = \"connection\"\n[group.x]\ntarget = \"b:1\"", `FILE:2: [group.x]: only valid with -mode line`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, path, err := parseTOML(t, test.text)
			checkErrors(t, err, []string{strings.ReplaceAll(test.want, "FILE", path)})
		})
	}
}

func TestReloadsOfGroupTables(t *testing.T) {
	const archive, audit = "[group.archive]\ntarget = \"c:1\"\n", "[group.audit]\ntarget = \"d:1\"\n"
	parse := func(text string) Config {
		p, _, err := parseTOML(t, text)
		if err != nil {
			t.Fatal(err)
		}
		return p.Services[0]
	}
	old := parse(archive + audit)
	for _, test := range []struct {
		name, text           string
		changed, needRestart []string
	}{
		{"the same", archive + audit, nil, nil},
		{"another order", audit + archive, []string{"group"}, nil},
		{"another target", archive + "[group.audit]\ntarget = [\"d:1\", \"e:1\"]\n", []string{"group"}, nil},
		{"one less", archive, nil, []string{"group"}},
		{"best effort", archive + audit + "required = false\n", nil, []string{"group"}},
	} {
		changed, needRestart := Diff(old, parse(test.text))
		needRestart = slices.DeleteFunc(needRestart, func(name string) bool { return name == "config" }) // each has its own file
		if len(needRestart) == 0 {
			needRestart = nil
		}
		if !slices.Equal(changed, test.changed) || !slices.Equal(needRestart, test.needRestart) {
			t.Errorf("%s: changed %v, need a restart %v", test.name, changed, needRestart)
		}
	}
}
