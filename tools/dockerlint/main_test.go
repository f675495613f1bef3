package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDockerfile(t *testing.T) {
	if err := lint(t.Context(), "../../Dockerfile"); err != nil {
		t.Error(err)
	}
}

func TestFaultsAreFound(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"FROM scratch\nCOPY x /x\nENTRYPOINT [\"/x\"]\n", ""},
		{"FROM a AS b\nFRM c\n", "unknown instruction: FRM"},
		{"FROM scratch\nCOPY --from=build /x /x\nENTRYPOINT /x\n", ":3: JSONArgsRecommended"},
		{"FROM scratch\nENV KEY value\n", ":2: LegacyKeyValueFormat"},
		{"FROM x\nRUN echo\nWORKDIR a\n", ":3: WorkdirRelativePath"},
		{"FROM x\nCOPY $NOWHERE /\n", ":2: UndefinedVar"},
		{"", "cannot be empty"},
	} {
		file := filepath.Join(t.TempDir(), "Dockerfile")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		switch err := lint(t.Context(), file); {
		case test.want == "" && err != nil:
			t.Errorf("%q: %v", test.text, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%q: got %v, want it to hold %q", test.text, err, test.want)
		}
	}
	if err := lint(t.Context(), "/nonexistent"); err == nil {
		t.Error("no error without a file")
	}
}
