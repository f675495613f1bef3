package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"linesplit/bench/report"
)

// A test of bench compares this file with what it writes now, and updates it with go test
// ./bench/internal/section -update.
const sample = "testdata/bench.json"

func sampleFigures(t *testing.T) []report.Figure {
	t.Helper()
	figures, err := read(sample)
	if err != nil {
		t.Fatal(err)
	}
	return figures
}

func TestAllFiguresAreDrawnBesideTheFile(t *testing.T) {
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(path); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, f := range sampleFigures(t) {
		kinds[f.Kind] = true
		for _, suffix := range []string{".svg", "-dark.svg"} {
			svg, err := os.ReadFile(filepath.Join(filepath.Dir(path), f.Name+suffix))
			if err != nil {
				t.Error(err)
				continue
			}
			checkSVG(t, f, svg)
		}
	}
	if len(kinds) != 3 {
		t.Errorf("the sample has only the kinds %v", kinds)
	}
}

// checkSVG expects well-formed XML with all texts of the figure.
func checkSVG(t *testing.T, f report.Figure, svg []byte) {
	t.Helper()
	texts := map[string]string{} // by element
	element := ""
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			element = token.Name.Local
		case xml.CharData:
			texts[element] += string(token) + "\n"
		}
	}
	words := append([]string{f.Title, f.Unit, f.Axis}, f.Labels...)
	for _, s := range f.Series {
		if len(f.Series) > 1 && slices.ContainsFunc(s.Points, func(p *report.Point) bool { return p != nil }) {
			words = append(words, s.Name)
		}
	}
	for _, word := range words {
		if !strings.Contains(texts["text"], word) {
			t.Errorf("%s: %q is not shown", f.Name, word)
		}
	}
	if !strings.Contains(texts["title"], f.Title) || !strings.Contains(texts["desc"], f.Text) {
		t.Errorf("%s: title %q, description %q", f.Name, texts["title"], texts["desc"])
	}
}

func TestDrawingIsReproducible(t *testing.T) {
	for _, f := range sampleFigures(t) {
		before, _ := json.Marshal(f)
		first, err1 := render(f, light)
		second, err2 := render(f, light)
		other, err3 := render(f, dark)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) || bytes.Equal(first, other) {
			t.Errorf("%s: equal drawings %v, light equals dark %v",
				f.Name, bytes.Equal(first, second), bytes.Equal(first, other))
		}
		if after, _ := json.Marshal(f); !bytes.Equal(before, after) {
			t.Errorf("%s: drawing has changed the figure", f.Name)
		}
	}
}

// A run may leave points out or measure 0.
func TestMissingAndZeroPointsAreDrawn(t *testing.T) {
	point := func(median, low, high float64, noisy bool) *report.Point {
		return &report.Point{Median: median, Low: low, High: high, Noisy: noisy}
	}
	for _, kind := range []string{report.KindBars, report.KindDots, report.KindLines} {
		for name, points := range map[string][]*report.Point{
			"missing":     {nil, point(2, 1, 3, false)},
			"all missing": {nil, nil},
			"zero":        {point(0, 0, 0, false), point(2, 0, 3, true)},
			"all zero":    {point(0, 0, 0, false), point(0, 0, 0, false)},
			"huge":        {point(1e9, 1, 1e12, true), point(0.001, 0.001, 0.001, false)},
		} {
			f := report.Figure{
				Name: "odd", Title: "a < b & c", Kind: kind, Labels: []string{"one", "two"}, Text: "<&>",
				Series: []report.Series{{Name: "s", Points: points}, {Name: "t", Points: points}},
			}
			svg, err := render(f, light)
			if err != nil {
				t.Errorf("%s, %s: %v", kind, name, err)
				continue
			}
			checkSVG(t, f, svg)
		}
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	const good = `{"sections":[{"figures":[` +
		`{"name":"a","kind":"bars","labels":["x"],"series":[{"name":"s","points":[null]}]}]}]}`
	path := filepath.Join(t.TempDir(), "bench.json")
	for _, c := range []struct{ old, new, want string }{
		{"", "", ""},
		{`"kind":"bars"`, `"kind":"pie"`, `unknown kind of figure: "pie"`},
		{`"name":"a"`, `"name":"../a"`, "its name is not a file name"},
		{`"name":"a"`, `"name":""`, "its name is not a file name"},
		{`["x"]`, `[]`, "nothing to show"},
		{`["x"]`, `["x","y"]`, "s has 1 points for 2 labels"},
		{`{"sec`, `{sec`, "invalid character"},
	} {
		if err := os.WriteFile(path, []byte(strings.Replace(good, c.old, c.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		err := run(path)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error = %v, want %q", c.new, err, c.want)
		}
	}
	if err := run("testdata/nowhere.json"); err == nil {
		t.Error("a missing file: no error")
	}
}
