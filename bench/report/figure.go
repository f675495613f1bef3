package report

import (
	"fmt"
	"slices"
	"strings"
)

// Values of Figure.Kind.
const (
	KindBars  = "bars"  // from 0, grouped by label where there are several series
	KindDots  = "dots"  // on a logarithmic scale, for values that differ by orders of magnitude
	KindLines = "lines" // one per series, over the labels
)

// Figure is the content of a chart. tools/charts draws it.
type Figure struct {
	Name   string   `json:"name"` // base name of its files
	Title  string   `json:"title"`
	Unit   string   `json:"unit"` // of the values
	Axis   string   `json:"axis"` // meaning of the labels, empty where it is obvious
	Kind   string   `json:"kind"`
	Labels []string `json:"labels"`
	Series []Series `json:"series"`
	Text   string   `json:"text"` // the figure in words, for readers who cannot see it
}

// Series has one point for each label of its figure, nil where nothing was measured.
type Series struct {
	Name   string   `json:"name"`
	Points []*Point `json:"points"`
}

// Point is the median of all repetitions and their range.
type Point struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Noisy  bool    `json:"noisy"` // the range is too wide to rely on
}

// Bars compares the rows of a table in some columns, with a series for each column.
func Bars(t *Table, name, title, unit string, columns ...string) Figure {
	f := Figure{Name: name, Title: title, Unit: unit, Kind: KindBars}
	var rows []int
	for row, label := range t.Rows {
		if t.Point(row, columns[0]) != nil {
			rows = append(rows, row)
			f.Labels = append(f.Labels, label)
		}
	}
	for _, column := range columns {
		s := Series{Name: column}
		for _, row := range rows {
			s.Points = append(s.Points, t.Point(row, column))
		}
		f.Series = append(f.Series, s)
	}
	return f
}

// Dots is Bars on a logarithmic scale.
func Dots(t *Table, name, title, unit string, columns ...string) Figure {
	f := Bars(t, name, title, unit, columns...)
	f.Kind = KindDots
	return f
}

// Grouped compares one column of several tables, with a series for each table.
func Grouped(rows, names []string, tables []*Table, name, title, unit, column string) Figure {
	f := Figure{Name: name, Title: title, Unit: unit, Kind: KindBars, Labels: rows}
	for i, t := range tables {
		s := Series{Name: names[i]}
		for _, row := range rows {
			s.Points = append(s.Points, t.Point(slices.Index(t.Rows, row), column))
		}
		f.Series = append(f.Series, s)
	}
	return f
}

// empty reports whether there is nothing to show.
func (f Figure) empty() bool {
	for _, s := range f.Series {
		if slices.ContainsFunc(s.Points, func(p *Point) bool { return p != nil }) {
			return false
		}
	}
	return true
}

// text returns the figure in words. See Text.
func (f Figure) text() string {
	var all []string
	for _, s := range f.Series {
		var points []string
		for i, p := range s.Points {
			if p != nil {
				points = append(points, fmt.Sprintf("%s = %s", f.Labels[i], p))
			}
		}
		one := strings.Join(points, ", ")
		if len(f.Series) > 1 {
			one = s.Name + ": " + one
		}
		all = append(all, one)
	}
	return fmt.Sprintf("%s, %s. %s.", f.Title, f.Unit, strings.Join(all, "; "))
}

// String returns the median, and whether it is noisy.
func (p *Point) String() string {
	if p.Noisy {
		return Number(p.Median) + " (noisy)"
	}
	return Number(p.Median)
}
