package config

import (
	"os"
	"strings"
	"testing"
)

// The configuration files in docs/recipes.md are valid: one in each column of its example.
func TestRecipes(t *testing.T) {
	text, err := os.ReadFile("../../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	const head = "    # /etc/linesplit/logs.conf"
	_, table, found := strings.Cut(string(text), head)
	if !found {
		t.Fatalf("no %q in the recipes", head)
	}
	column := strings.Index(head+strings.SplitN(table, "\n", 2)[0], "# /etc/linesplit/metrics.conf")
	rows, _, _ := strings.Cut(table, "\n\n")
	var files [2]strings.Builder
	for _, row := range strings.Split(rows, "\n")[1:] {
		files[0].WriteString(row[:column] + "\n")
		files[1].WriteString(row[column:] + "\n")
	}
	clearEnv(t)
	for i := range files {
		if _, err := Parse([]string{"-config", writeFile(t, files[i].String())}); err != nil {
			t.Errorf("%s%v", &files[i], err)
		}
	}
}
