package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// MaxSpread is the spread, (max − min) / median, above which a figure is marked with a question
// mark.
const MaxSpread = 0.25

// Table collects the values of all repetitions and shows their medians and ranges.
type Table struct {
	Rows    []string      // their names
	Columns []string      // their names
	values  [][][]float64 // by row, column, repetition
	hidden  map[[2]int]bool
	Brief   bool       // show medians without ranges
	Whole   bool       // show figures without decimals
	extra   [][]string // computed rows, each with its name in front
}

// NewTable returns a table without values.
func NewTable(rows []string, columns ...string) *Table {
	t := &Table{Rows: rows, Columns: columns, hidden: map[[2]int]bool{}}
	for range rows {
		t.values = append(t.values, make([][]float64, len(columns)))
	}
	return t
}

// Add adds the values of one repetition to a row.
func (t *Table) Add(row int, values ...float64) {
	for col, v := range values {
		t.values[row][col] = append(t.values[row][col], v)
	}
}

// Hide hides some columns of a row, which do not apply to it.
func (t *Table) Hide(row string, columns ...int) {
	for _, c := range columns {
		t.hidden[[2]int{slices.Index(t.Rows, row), c}] = true
	}
}

// CopyColumn takes a column from another table, for the rows that both have.
func (t *Table) CopyColumn(col int, from *Table, column string) {
	theirs := slices.Index(from.Columns, column)
	for row, name := range t.Rows {
		if r := slices.Index(from.Rows, name); r >= 0 && !from.hidden[[2]int{r, theirs}] {
			t.values[row][col] = from.values[r][theirs]
		}
	}
}

// Find returns the values of a row and column by their names, nil if there is nothing to show.
func (t *Table) Find(row, column string) []float64 {
	r, c := slices.Index(t.Rows, row), slices.Index(t.Columns, column)
	if r < 0 || c < 0 || t.empty(r, c) {
		return nil
	}
	return t.values[r][c]
}

// Set sets the values of all repetitions of one cell.
func (t *Table) Set(row, col int, values []float64) { t.values[row][col] = values }

// Point returns the median and range of one cell, nil if there is nothing to show.
func (t *Table) Point(row int, column string) *Point {
	col := slices.Index(t.Columns, column)
	if row < 0 || t.empty(row, col) {
		return nil
	}
	v := t.values[row][col]
	return &Point{median(v), slices.Min(v), slices.Max(v), spread(v) > MaxSpread}
}

// Values returns the values of a row by column, and an empty list where there is nothing to show.
func (t *Table) Values(row int) (values [][]float64) {
	for col, v := range t.values[row] {
		if t.empty(row, col) {
			v = []float64{}
		}
		values = append(values, v)
	}
	return values
}

// empty reports whether a cell has nothing to show.
func (t *Table) empty(row, col int) bool {
	return t.hidden[[2]int{row, col}] || len(t.values[row][col]) == 0
}

// AddRatio adds a row with the ratios of two rows, if the table has both.
func (t *Table) AddRatio(row, base string) {
	a, b := slices.Index(t.Rows, row), slices.Index(t.Rows, base)
	if a < 0 || b < 0 {
		return
	}
	cells := []string{row + " / " + base}
	for col := range t.Columns {
		cell := "–"
		if !t.empty(a, col) && !t.empty(b, col) {
			if all := Ratios(t.values[a][col], t.values[b][col]); len(all) > 0 {
				cell = fmt.Sprintf("%.2f ×", median(all))
			}
		}
		cells = append(cells, cell)
	}
	t.extra = append(t.extra, cells)
}

// Ratios returns the ratio of two rows' values in each repetition in which the base is not 0. Its
// median shows a difference better than the ratio of medians does: a machine that is slow for a
// whole repetition slows both.
func Ratios(values, base []float64) (all []float64) {
	for i := range min(len(values), len(base)) {
		if base[i] != 0 {
			all = append(all, values[i]/base[i])
		}
	}
	return all
}

// AddFlatness adds a row with the ratio of the highest to the lowest median in one column of the
// rows [from, to).
func (t *Table) AddFlatness(name string, column, from, to int) {
	lowest, highest := math.Inf(1), 0.0
	for _, row := range t.values[from:to] {
		if m := median(row[column]); !math.IsNaN(m) {
			lowest, highest = min(lowest, m), max(highest, m)
		}
	}
	cells := make([]string, len(t.Columns)+1)
	cells[0], cells[column+1] = name, fmt.Sprintf("%.2f ×", highest/lowest)
	t.extra = append(t.extra, cells)
}

// Cells returns the text of all cells, the header first.
func (t *Table) Cells() [][]string {
	all := [][]string{append([]string{""}, t.Columns...)}
	for r, name := range t.Rows {
		row := []string{name}
		for c := range t.Columns {
			row = append(row, t.cell(r, c))
		}
		all = append(all, row)
	}
	return append(all, t.extra...)
}

// cell returns the text of one figure, with a question mark where its range is wide.
func (t *Table) cell(row, col int) string {
	if t.empty(row, col) {
		return "–"
	}
	v := t.values[row][col]
	number := Number
	if t.Whole {
		number = func(v float64) string { return fmt.Sprintf("%.0f", v) }
	}
	text := number(median(v))
	if len(v) > 1 && !t.Brief {
		text += fmt.Sprintf(" (%s–%s)", number(slices.Min(v)), number(slices.Max(v)))
	}
	if spread(v) > MaxSpread {
		text += " ?"
	}
	return text
}

// noise returns how many of the figures have a wide range, or an empty text if none has.
func (t *Table) noise() string {
	if t.Brief {
		return ""
	}
	all, noisy := 0, 0
	for row := range t.Rows {
		for col := range t.Columns {
			if t.empty(row, col) {
				continue
			}
			if all++; spread(t.values[row][col]) > MaxSpread {
				noisy++
			}
		}
	}
	if noisy == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d figures", noisy, all)
}

// spread returns the range of values as a fraction of their median.
func spread(v []float64) float64 { return (slices.Max(v) - slices.Min(v)) / median(v) }

// median returns the median, NaN if there are no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// text returns the table for a terminal: names aligned left, figures aligned right.
func (t *Table) text() string {
	cells := t.Cells()
	width := make([]int, len(cells[0]))
	for _, row := range cells {
		for c, cell := range row {
			width[c] = max(width[c], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range cells {
		var line strings.Builder
		for c, cell := range row {
			if c == 0 {
				fmt.Fprintf(&line, "  %-*s", width[c], cell)
			} else {
				fmt.Fprintf(&line, "   %*s", width[c], cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
