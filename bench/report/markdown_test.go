package report

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMarkdownKeepsTextOutsideTheMarks(t *testing.T) {
	r := &Report{Facts: []string{"a fact"}}
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := r.writeMarkdown(path, ""); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	os.WriteFile(path, append(append([]byte("before\n"), text...), "after\n"...), 0o644)
	r.Facts = []string{"another"}
	if err := r.writeMarkdown(path, ""); err != nil {
		t.Fatal(err)
	}
	text, _ = os.ReadFile(path)
	if want := "before\n# Performance\n\n" + MarkBegin + "\n- another\n" + MarkEnd + "\nafter\n"; string(text) != want {
		t.Errorf("got %q", text)
	}
	os.WriteFile(path, []byte("no marks"), 0o644)
	if err := r.writeMarkdown(path, ""); err == nil {
		t.Error("a file without marks was replaced")
	}
}
