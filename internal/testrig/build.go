//go:build linux

package testrig

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds linesplit into dir, with the race detector if this binary has it, and returns the
// path of the program.
func Build(dir string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	binary := filepath.Join(dir, "linesplit")
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if Race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}

// noticeSources opens the files that linesplit is made of. go test repeats an old result where the
// test binary and the files that a test opened are the same, and little of linesplit is in the test
// binary: without this a change to linesplit would pass untested.
func noticeSources() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir // the repository itself, which changes more often than the sources
		case filepath.Ext(path) != ".go":
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return f.Close()
	})
}
