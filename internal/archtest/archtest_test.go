// Package archtest holds the table of packages in docs/architecture.md against the code: it lists
// every package with exactly the packages that it imports, and these stand below it.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	module   = "linesplit"
	document = "docs/architecture.md"
)

// A row is a package in the table and the packages of this module that it imports.
type row struct {
	name    string
	imports []string
}

func TestTableMatchesImports(t *testing.T) {
	rows := readTable(t)
	imports := listImports(t)
	position := map[string]int{}
	for i, r := range rows {
		if _, twice := position[r.name]; twice {
			t.Errorf("%s lists %s twice", document, r.name)
		}
		position[r.name] = i
	}
	for name := range imports {
		if _, listed := position[name]; !listed {
			t.Errorf("%s does not list %s", document, name)
		}
	}
	for i, r := range rows {
		actual, exists := imports[r.name]
		if !exists {
			t.Errorf("%s lists %s, which does not exist", document, r.name)
			continue
		}
		slices.Sort(r.imports)
		if !slices.Equal(r.imports, actual) {
			t.Errorf("%s imports\n  %s\nand %s lists\n  %s",
				r.name, strings.Join(actual, ", "), document, strings.Join(r.imports, ", "))
		}
		for _, imported := range actual {
			if position[imported] <= i {
				t.Errorf("%s imports %s, which stands above it in %s", r.name, imported, document)
			}
		}
	}
}

// readTable returns the rows "| `package` | job | `import`, `import` |".
func readTable(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("../../" + document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "| package | its one job | imports |")
	if !found {
		t.Fatalf("%s has no table of packages", document)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	var rows []row
	for line := range strings.Lines(strings.TrimLeft(section, "\n")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 {
			break
		}
		name := quoted.FindStringSubmatch(cells[1])
		if name == nil {
			continue // the line below the header
		}
		r := row{name: name[1]}
		for _, m := range quoted.FindAllStringSubmatch(cells[3], -1) {
			r.imports = append(r.imports, m[1])
		}
		rows = append(rows, r)
	}
	return rows
}

// listImports returns the packages of this module that have code beside tests, each with its
// imports from this module, sorted.
func listImports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath       string
			GoFiles, Imports []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue
		}
		imports := []string{}
		for _, path := range p.Imports {
			if name, ours := strings.CutPrefix(path, module+"/"); ours {
				imports = append(imports, name)
			}
		}
		slices.Sort(imports)
		all[nameOf(p.ImportPath)] = imports
	}
	return all
}

// nameOf returns how the table names a package.
func nameOf(path string) string {
	if path == module {
		return "main"
	}
	return strings.TrimPrefix(path, module+"/")
}
