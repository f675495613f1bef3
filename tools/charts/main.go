// Command charts draws the charts of a benchmark as SVG files, each for light and for dark pages, beside the JSON file that bench
// has written:
//
//	go run ./bench -json docs/charts/bench.json
//	go -C tools run ./charts ../docs/charts/bench.json
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// run draws all figures of a file, beside it.
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

// figure is a chart as bench writes it.
type figure struct {
	Name   string   `json:"name"` // of its files
	Title  string   `json:"title"`
	Unit   string   `json:"unit"` // of the values
	Axis   string   `json:"axis"` // what the labels are, empty where that goes without saying
	Kind   string   `json:"kind"` // bars, dots (on a logarithmic scale) or lines
	Labels []string `json:"labels"`
	Series []series `json:"series"`
	Text   string   `json:"text"` // what it shows, for those who do not see it
}

// series has a point for each label, nil where nothing was measured.
type series struct {
	Name   string   `json:"name"`
	Points []*point `json:"points"`
}

// point is a median and its range.
type point struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Noisy  bool    `json:"noisy"` // the range is too wide to rely on
}

// read returns the figures of a benchmark.
func read(path string) (figures []figure, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var report struct {
		Sections []struct {
			Figures []figure `json:"figures"`
		} `json:"sections"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, s := range report.Sections {
		for _, f := range s.Figures {
			if err := f.check(); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			figures = append(figures, f)
		}
	}
	return figures, nil
}

// check says what makes a figure one that cannot be drawn.
func (f figure) check() error {
	var errs []error
	if f.Name == "" || f.Name != filepath.Base(f.Name) {
		errs = append(errs, fmt.Errorf("figure %q: its name is no file's", f.Name))
	}
	if len(f.Labels) == 0 || len(f.Series) == 0 {
		errs = append(errs, fmt.Errorf("figure %s: nothing to show", f.Name))
	}
	for _, s := range f.Series {
		if len(s.Points) != len(f.Labels) {
			errs = append(errs, fmt.Errorf("figure %s: %s has %d points for %d labels", f.Name, s.Name, len(s.Points), len(f.Labels)))
		}
	}
	return errors.Join(errs...)
}
