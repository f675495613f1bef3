//go:build linux

package testrig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// program is the path of the program under test, which Main sets before any test runs.
var program string

// Binary returns the path of the program under test.
func Binary(tb testing.TB) string {
	tb.Helper()
	if err := noticeSources(); err != nil {
		tb.Fatalf("notice the source files: %v", err)
	}
	return program
}

// RaceBinary returns the path of the program built with the race detector, which the first call
// builds unless Binary has it too.
func RaceBinary(tb testing.TB) string {
	tb.Helper()
	path := Binary(tb)
	if Race {
		return path
	}
	path, err := withRace()
	if err != nil {
		tb.Fatalf("build with the race detector: %v", err)
	}
	return path
}

// withRace builds the program with the race detector, beside the one that Main has built.
var withRace = sync.OnceValues(func() (string, error) {
	return build(filepath.Join(filepath.Dir(program), "race"), true)
})

// build builds linesplit into dir and returns the path of the program. It works in every directory
// of the module, with and without git.
func build(dir string, race bool) (string, error) {
	path := filepath.Join(dir, "linesplit")
	args := []string{"build", "-buildvcs=false", "-o", path}
	if race {
		args = append(args, "-race")
	}
	if _, err := goCommand(append(args, ".")...); err != nil {
		return "", err
	}
	return path, nil
}

// goCommand runs the go command in the module's directory and returns its output.
func goCommand(args ...string) ([]byte, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return out, err
}

// noticeSources opens the files that linesplit is built from, and their directories. go test
// repeats an old result if the test binary and all files that a test opened are the same. Little of
// linesplit is in the test binary, so without this a change to linesplit would pass untested. Files
// that are opened before the first test do not count.
var noticeSources = sync.OnceValue(func() error {
	const format = `{{with .Module}}{{if .Main}}{{.GoMod}}{{range $.GoFiles}}
{{$.Dir}}/{{.}}{{end}}{{range $.EmbedFiles}}
{{$.Dir}}/{{.}}{{end}}{{end}}{{end}}`
	list, err := goCommand("list", "-deps", "-f", format, ".")
	if err != nil {
		return err
	}
	opened := make(map[string]bool)
	var errs []error
	for path := range strings.Lines(string(list)) {
		path = strings.TrimSuffix(path, "\n")
		for _, path := range []string{path, filepath.Dir(path)} {
			if !opened[path] {
				opened[path] = true
				errs = append(errs, notice(path))
			}
		}
	}
	return errors.Join(errs...)
})

// notice opens a file or a directory and closes it.
func notice(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
