package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"linesplit/internal/config"
)

// runCommand runs linesplit with a command and its arguments, and returns the exit code.
func runCommand(ctx context.Context, name string, args []string, stdout, stderr io.Writer) int {
	return Main(ctx, "v1.2.3", append([]string{name}, args...), stdout, stderr)
}

// clearEnv hides linesplit's variables in the environment of the tests: an empty variable counts as
// unset.
func clearEnv(t testing.TB) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, config.EnvPrefix+"_") {
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
