package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/flags"
)

// clearEnv hides the linesplit settings of the surrounding environment: an empty variable counts
// as unset.
func clearEnv(t testing.TB) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, EnvPrefix+"_") {
			t.Setenv(name, "")
		}
	}
}

func writeFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "linesplit.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustParse(t *testing.T, args ...string) Config { return mustParseAll(t, args...).Config }

func mustParseAll(t *testing.T, args ...string) Process {
	t.Helper()
	p, err := Parse(args)
	if err != nil {
		t.Fatalf("Parse(%q): %v", args, err)
	}
	return p
}

// writeTOML writes a file whose name ends with .toml.
func writeTOML(t testing.TB, text string) string {
	t.Helper()
	path := writeFile(t, text)
	if err := os.Rename(path, path+".toml"); err != nil {
		t.Fatal(err)
	}
	return path + ".toml"
}

// names returns listeners or targets as they are written.
func names[T fmt.Stringer](values []T) (names []string) {
	for _, v := range values {
		names = append(names, v.String())
	}
	return names
}

// checkErrors fails the test unless err holds exactly the errors that contain the texts, in order.
func checkErrors(t *testing.T, err error, want []string) {
	t.Helper()
	errs, _ := errors.AsType[flags.Errors](err)
	if len(errs) != len(want) {
		t.Fatalf("%d errors, want %d:\n%v", len(errs), len(want), err)
	}
	for i := range want {
		if !strings.Contains(errs[i].Error(), want[i]) {
			t.Errorf("error %d:\n%s\nwant it to hold:\n%s", i, errs[i], want[i])
		}
	}
}
