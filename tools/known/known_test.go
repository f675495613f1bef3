package known

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A metric that is in two files with different labels has the labels of both.
func TestLabelsOfSeveralFilesAreMerged(t *testing.T) {
	m, err := Read(
		file(t, "a{x=\"1\"} 1\nb 1\n"),
		file(t, "a{y=\"1\"} 1\n# TYPE h histogram\nh_bucket{z=\"1\",le=\"+Inf\"} 1\n"+
			"h_sum{z=\"1\"} 1\nh_count{z=\"1\"} 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]string{
		"sum by (x, y, instance) (a)": "",
		"b + h_count":                 "",
		"histogram_quantile(0.5, sum by (le) (h_bucket))": "",
		"h_sum{z=\"1\"}":      "",
		"h":                   `metric "h" does not exist`,
		"b{x=\"1\"}":          `metric b has no label "x"`,
		"sum by (le) (h_sum)": `grouped by "le", which h_sum does not have`,
		"sum(":                "parse error",
		"c":                   `metric "c" does not exist`,
	} {
		err := m.Check(expr)
		if got := errText(err); !strings.Contains(got, want) || want == "" && err != nil {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

func TestMissingAndBrokenFilesAreErrors(t *testing.T) {
	for _, name := range []string{"/nonexistent", file(t, "a{")} {
		if _, err := Read(name); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "metrics.txt")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
