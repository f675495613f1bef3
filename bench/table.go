//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// noisy is the spread, (max − min) / median, above which a figure carries a warning.
const noisy = 0.25

// table collects repetitions and shows their medians, with the range beside them.
type table struct {
	rows    []string
	columns []string
	values  [][][]float64 // by row, column, repetition
	hidden  map[[2]int]bool
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

// addRatio adds a row with the quotient of two rows' medians, if both are there.
func (t *table) addRatio(row, base string) {
	a, b := slices.Index(t.rows, row), slices.Index(t.rows, base)
	if a < 0 || b < 0 {
		return
	}
	cells := []string{row + " / " + base}
	for col := range t.columns {
		cells = append(cells, fmt.Sprintf("%.2f ×", median(t.values[a][col])/median(t.values[b][col])))
	}
	t.extra = append(t.extra, cells)
}

// addFlatness adds a row with the quotient of the highest and the lowest median of a column, over rows from up to but not to.
func (t *table) addFlatness(name string, column, from, to int) {
	lowest, highest := math.Inf(1), 0.0
	for _, row := range t.values[from:to] {
		m := median(row[column])
		lowest, highest = min(lowest, m), max(highest, m)
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

func (t *table) cell(row, col int) string {
	v := t.values[row][col]
	if t.hidden[[2]int{row, col}] || len(v) == 0 {
		return "–"
	}
	if len(v) == 1 {
		return number(v[0])
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(v)), number(slices.Min(v)), number(slices.Max(v)))
}

// noise lists the figures whose range is wide.
func (t *table) noise() (warnings []string) {
	for r, name := range t.rows {
		for c, column := range t.columns {
			v := t.values[r][c]
			if t.hidden[[2]int{r, c}] || len(v) < 2 {
				continue
			}
			if spread := (slices.Max(v) - slices.Min(v)) / median(v); spread > noisy {
				warnings = append(warnings, fmt.Sprintf("%s %s ±%.0f %%", name, column, spread*50))
			}
		}
	}
	return warnings
}

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
