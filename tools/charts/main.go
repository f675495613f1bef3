// Command charts draws the figures in a JSON file of bench as SVG files, in the folder of that
// file. Each figure gets a drawing for light and one for dark pages:
//
//	go run ./bench -json docs/charts/bench.json
//	go -C tools run ./charts ../docs/charts/bench.json
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"linesplit/bench/report"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: charts FILE.json")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "charts:", err)
		os.Exit(1)
	}
}

// run draws all figures of a file.
func run(path string) error {
	figures, err := read(path)
	if err != nil {
		return err
	}
	for _, f := range figures {
		for suffix, p := range map[string]palette{"": light, "-dark": dark} {
			svg, err := render(f, p)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), f.Name+suffix+".svg"), svg, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// read returns the figures of a report, which must be valid.
func read(path string) (figures []report.Figure, err error) {
	d, err := report.Read(path)
	if err != nil {
		return nil, err
	}
	for _, s := range d.Sections {
		for _, f := range s.Figures {
			if err := check(f); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			figures = append(figures, f)
		}
	}
	return figures, nil
}

// check returns an error if a figure cannot be drawn.
func check(f report.Figure) error {
	var errs []error
	if f.Name == "" || f.Name != filepath.Base(f.Name) {
		errs = append(errs, fmt.Errorf("figure %q: its name is not a file name", f.Name))
	}
	if len(f.Labels) == 0 || len(f.Series) == 0 {
		errs = append(errs, fmt.Errorf("figure %s: nothing to show", f.Name))
	}
	for _, s := range f.Series {
		if len(s.Points) != len(f.Labels) {
			errs = append(errs, fmt.Errorf("figure %s: %s has %d points for %d labels",
				f.Name, s.Name, len(s.Points), len(f.Labels)))
		}
	}
	return errors.Join(errs...)
}
