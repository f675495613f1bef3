// Deploycheck looks at what stands in deploy/: that each file is one which the program it is meant for takes, with no key that this
// would pass over; that files which belong together fit each other; that linesplit has every flag it is started with; that
// dashboards ask for metrics that exist; and that docs/operations.md tells of what there is.
//
//	deploycheck REPOSITORY
//
// What needs systemd's own tools is in the tests.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: deploycheck REPOSITORY")
		os.Exit(2)
	}
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(repository string) error {
	commands, err := askHelp(repository)
	if err != nil {
		return err
	}
	deploy := filepath.Join(repository, "deploy")
	return errors.Join(
		checkCompose(filepath.Join(deploy, "compose.yaml"), commands),
		checkCluster(filepath.Join(deploy, "kubernetes"), commands),
		checkDashboards(repository),
		checkOperations(repository),
	)
}

// readStrict decodes YAML or JSON into a value that must know every key, each of which stands there once, as an API server with strict
// validation does.
func readStrict(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if filepath.Ext(file) != ".json" {
		if bytes.Contains(data, []byte("\n---")) {
			return fmt.Errorf("%s: more than one document", file) // all but the first would be passed over
		}
		if data, err = yaml.YAMLToJSONStrict(data); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	strict, err := json.UnmarshalStrict(data, into)
	if err := errors.Join(append(strict, err)...); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// findings are what was found wrong with a file so far.
type findings struct {
	file string
	errs []error
}

func (f *findings) add(format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s: %s", f.file, fmt.Sprintf(format, args...)))
}

func (f *findings) err() error { return errors.Join(f.errs...) }
