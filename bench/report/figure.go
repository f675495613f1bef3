package report

import (
	"fmt"
	"slices"
	"strings"
)

// Kinds of figures.
const (
	KindBars  = "bars"  // from 0, side by side where there are several series
	KindDots  = "dots"  // on a logarithmic scale, for what differs by orders of magnitude
	KindLines = "lines" // over an axis
)

// Figure is a chart with all that it shows; tools/charts draws it.
type Figure struct {
	Name   string   `json:"name"` // of its files
	Title  string   `json:"title"`
	Unit   string   `json:"unit"` // of the values
	Axis   string   `json:"axis"` // what the labels are, empty where that goes without saying
	Kind   string   `json:"kind"`
	Labels []string `json:"labels"`
	Series []Series `json:"series"`
	Text   string   `json:"text"` // what it shows, for those who do not see it
}

// Series has a point for each label of its figure, null where there is none.
type Series struct {
	Name   string   `json:"name"`
	Points []*Point `json:"points"`
}

// Point is what repetitions gave.
type Point struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Noisy  bool    `json:"noisy"` // the range is too wide to rely on
}

// Bars compares the rows of a table in some columns.
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

// Dots is bars for figures that differ by orders of magnitude.
func Dots(t *Table, name, title, unit string, columns ...string) Figure {
	f := Bars(t, name, title, unit, columns...)
	f.Kind = KindDots
	return f
}

// Grouped compares rows that several tables have in one column: a series for each table.
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

// empty says that there is nothing to show.
func (f Figure) empty() bool {
	for _, s := range f.Series {
		if slices.ContainsFunc(s.Points, func(p *Point) bool { return p != nil }) {
			return false
		}
	}
	return true
}

// text says in words what the figure shows: see Text.
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

func (p *Point) String() string {
	if p.Noisy {
		return Number(p.Median) + " (noisy)"
	}
	return Number(p.Median)
}
