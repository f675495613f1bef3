//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// noisy is the spread, (max − min) / median, above which a figure carries a question mark.
const noisy = 0.25

// table collects repetitions and shows their medians, with the range beside them.
type table struct {
	rows    []string
	columns []string
	values  [][][]float64 // by row, column, repetition
	hidden  map[[2]int]bool
	brief   bool       // show no ranges: they stand elsewhere
	extra   [][]string // rows that were computed, with their names
}

func newTable(rows []string, columns ...string) *table {
	t := &table{rows: rows, columns: columns, hidden: map[[2]int]bool{}}
	for range rows {
		t.values = append(t.values, make([][]float64, len(columns)))
	}
	return t
}

// add adds one repetition of a row.
func (t *table) add(row int, values ...float64) {
	for col, v := range values {
		t.values[row][col] = append(t.values[row][col], v)
	}
}

// hide shows nothing in some columns of a row: they do not apply.
func (t *table) hide(row string, columns ...int) {
	for _, c := range columns {
		t.hidden[[2]int{slices.Index(t.rows, row), c}] = true
	}
}

// borrow takes over a column from another table, for the rows that both have.
func (t *table) borrow(col int, from *table, column string) {
	theirs := slices.Index(from.columns, column)
	for row, name := range t.rows {
		if r := slices.Index(from.rows, name); r >= 0 && !from.hidden[[2]int{r, theirs}] {
			t.values[row][col] = from.values[r][theirs]
		}
	}
}

// point returns what repetitions gave for a row, nil if there is nothing to show.
func (t *table) point(row int, column string) *point {
	col := slices.Index(t.columns, column)
	if row < 0 || t.empty(row, col) {
		return nil
	}
	v := t.values[row][col]
	return &point{median(v), slices.Min(v), slices.Max(v), spread(v) > noisy}
}

// shown returns the values of a row by column, none where there is nothing to show.
func (t *table) shown(row int) (values [][]float64) {
	for col, v := range t.values[row] {
		if t.empty(row, col) {
			v = []float64{}
		}
		values = append(values, v)
	}
	return values
}

// empty says that there is nothing to show.
func (t *table) empty(row, col int) bool {
	return t.hidden[[2]int{row, col}] || len(t.values[row][col]) == 0
}

// addRatio adds a row with the quotient of two rows' medians, if both are there.
func (t *table) addRatio(row, base string) {
	a, b := slices.Index(t.rows, row), slices.Index(t.rows, base)
	if a < 0 || b < 0 {
		return
	}
	cells := []string{row + " / " + base}
	for col := range t.columns {
		cell := "–"
		if !t.empty(a, col) && !t.empty(b, col) {
			cell = fmt.Sprintf("%.2f ×", median(t.values[a][col])/median(t.values[b][col]))
		}
		cells = append(cells, cell)
	}
	t.extra = append(t.extra, cells)
}

// addFlatness adds a row with the quotient of the highest and the lowest median of a column, over rows from up to but not to.
func (t *table) addFlatness(name string, column, from, to int) {
	lowest, highest := math.Inf(1), 0.0
	for _, row := range t.values[from:to] {
		if m := median(row[column]); !math.IsNaN(m) {
			lowest, highest = min(lowest, m), max(highest, m)
		}
	}
	cells := make([]string, len(t.columns)+1)
	cells[0], cells[column+1] = name, fmt.Sprintf("%.2f ×", highest/lowest)
	t.extra = append(t.extra, cells)
}

// cells returns the table as text, header first.
func (t *table) cells() [][]string {
	all := [][]string{append([]string{""}, t.columns...)}
	for r, name := range t.rows {
		row := []string{name}
		for c := range t.columns {
			row = append(row, t.cell(r, c))
		}
		all = append(all, row)
	}
	return append(all, t.extra...)
}

// cell shows a figure, and a question mark where its range is wide.
func (t *table) cell(row, col int) string {
	if t.empty(row, col) {
		return "–"
	}
	v := t.values[row][col]
	text := number(median(v))
	if len(v) > 1 && !t.brief {
		text += fmt.Sprintf(" (%s–%s)", number(slices.Min(v)), number(slices.Max(v)))
	}
	if spread(v) > noisy {
		text += " ?"
	}
	return text
}

// noise says which part of the figures has a wide range, empty if none has.
func (t *table) noise() string {
	if t.brief {
		return ""
	}
	all, wide := 0, 0
	for row := range t.rows {
		for col := range t.columns {
			if t.empty(row, col) {
				continue
			}
			if all++; spread(t.values[row][col]) > noisy {
				wide++
			}
		}
	}
	if wide == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d figures", wide, all)
}

// spread is the range of values as a part of their median.
func spread(v []float64) float64 { return (slices.Max(v) - slices.Min(v)) / median(v) }

// number shows three digits or more.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// median returns the middle of values, NaN if there are none.
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

// text returns the table in columns: names to the left, figures to the right.
func (t *table) text() string {
	cells := t.cells()
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

// markdown returns the table as Markdown has them.
func (t *table) markdown() string {
	var b strings.Builder
	for i, row := range t.cells() {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("| --- |" + strings.Repeat(" ---: |", len(t.columns)) + "\n")
		}
	}
	return b.String()
}
