package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"linesplit/tools/known"
)

// checkOperations requires that docs/operations.md describes exactly the metrics and alerts that
// exist, and that every log line in it is in the source.
func checkOperations(repository string) error {
	file := filepath.Join(repository, "docs", "operations.md")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	testdata := filepath.Join(repository, "admin", "testdata")
	metrics, err := known.Read(filepath.Join(testdata, "metrics.txt"), filepath.Join(testdata, "forwarded.txt"),
		filepath.Join(testdata, "services.txt"))
	if err != nil {
		return err
	}
	alerts, err := readAlerts(filepath.Join(repository, "deploy", "prometheus", "rules.yml"))
	if err != nil {
		return err
	}
	source, err := readSource(repository)
	if err != nil {
		return err
	}
	f := &findings{file: file}
	f.checkMetrics(string(text), metrics)
	f.compare("runbook", matches(string(text), `(?m)^### (Linesplit\w+)$`), alerts)
	for _, message := range matches(part(string(text), "Log lines"), "(?m)^\\| `([^`]+)` \\|") {
		if !strings.Contains(source, `"`+message+`"`) {
			f.add("log line %q is not in the source", message)
		}
	}
	return f.err()
}

// checkMetrics checks the table of metrics and the metrics that the rest of the text names.
func (f *findings) checkMetrics(text string, metrics known.Metrics) {
	var names []string
	for name := range metrics {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	f.compare("metric", matches(part(text, "Metrics"), "(?m)^\\| `(linesplit_\\w+)` \\|"), names)
	for _, name := range matches(text, "`(linesplit_\\w+)[`{]") {
		if !slices.Contains(names, name) {
			f.add("metric %s does not exist", name)
		}
	}
}

// compare requires that got has exactly the names that exist.
func (f *findings) compare(what string, got, exist []string) {
	for _, name := range exist {
		if !slices.Contains(got, name) {
			f.add("no %s %s", what, name)
		}
	}
	for _, name := range got {
		if !slices.Contains(exist, name) {
			f.add("%s %s is described but does not exist", what, name)
		}
	}
}

// part returns the text under a heading of level two.
func part(text, heading string) string {
	_, rest, _ := strings.Cut(text, "\n## "+heading+"\n")
	before, _, _ := strings.Cut(rest, "\n## ")
	return before
}

func matches(text, expr string) (all []string) {
	for _, match := range regexp.MustCompile(expr).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

func readAlerts(file string) ([]string, error) {
	promQL := parser.NewParser(parser.Options{})
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, promQL, slog.Default())
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var names []string
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			names = append(names, rule.Alert)
		}
	}
	return names, nil
}

// readSource returns the text of all Go files of linesplit, without tests, tools and the benchmark.
func readSource(repository string) (string, error) {
	var all strings.Builder
	err := filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && (name == "tools" || name == "bench" || name == ".git"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	return all.String(), err
}
