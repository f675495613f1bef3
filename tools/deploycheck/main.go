// Command deploycheck checks the files in deploy/. Each must be accepted by the program that reads
// it, without unknown keys, which that program would ignore. Files that belong together must fit
// each other, linesplit must have every flag that it is started with, and dashboards may use only
// metrics that exist. docs/operations.md must describe exactly the metrics and alerts that exist.
//
//	deploycheck REPOSITORY
//
// The tests also check what needs the tools of systemd.
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

// readStrict decodes YAML or JSON into a value as an API server with strict validation does:
// unknown and duplicate keys are errors.
func readStrict(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if filepath.Ext(file) != ".json" {
		if bytes.Contains(data, []byte("\n---")) {
			return fmt.Errorf("%s: more than one document", file) // all but the first would be ignored
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

// findings collects the faults of a file.
type findings struct {
	file string
	errs []error
}

func (f *findings) add(format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s: %s", f.file, fmt.Sprintf(format, args...)))
}

func (f *findings) err() error { return errors.Join(f.errs...) }
