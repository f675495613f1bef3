package report

import (
	"strings"
	"testing"
)

func TestTableShowsMediansRangesAndRatios(t *testing.T) {
	tab := NewTable([]string{"HAProxy", "linesplit", "direct"}, "MB/s", "CPU s/GB")
	for i := range 3 {
		tab.Add(0, 1000+float64(i), 0.6)
		tab.Add(1, 1501, 0.30+float64(i)/10)
		tab.Add(2, 8000, 0)
	}
	tab.Hide("direct", 1)
	tab.AddRatio("linesplit", "HAProxy")
	tab.AddRatio("linesplit", "a row that is not there")
	tab.AddFlatness("dearest / cheapest", 1, 0, 2)
	want := `
                                MB/s              CPU s/GB
  HAProxy           1001 (1000–1002)   0.600 (0.600–0.600)
  linesplit         1501 (1501–1501)   0.400 (0.300–0.500) ?
  direct            8000 (8000–8000)                     –
  linesplit / HAProxy         1.50 ×                0.67 ×
  dearest / cheapest                                1.50 ×
`
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if got := tab.text(); squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s", got)
	}
	if noise := tab.noise(); noise != "1 of 5 figures" {
		t.Errorf("noise = %q", noise)
	}
}

func TestCountsAreShownWithoutDecimals(t *testing.T) {
	tab := NewTable([]string{"linesplit"}, "lost", "twice")
	tab.Whole = true
	for _, n := range []float64{0, 12345, 0} {
		tab.Add(0, 0, n)
	}
	if cells := tab.Cells()[1]; cells[1] != "0 (0–0)" || cells[2] != "0 (0–12345) ?" {
		t.Errorf("%q", cells)
	}
}

// The machine was three times as slow in the second repetition, for both. The ratio of the medians,
// 1.5, says nothing about them.
func TestRatioIsTakenWithinEachRepetition(t *testing.T) {
	tab := NewTable([]string{"HAProxy", "linesplit"}, "MB/s")
	for i, speed := range []float64{1200, 400, 800} {
		tab.Add(0, speed)
		tab.Add(1, speed*[]float64{1.1, 1.2, 1.5}[i])
	}
	tab.AddRatio("linesplit", "HAProxy")
	if cells := tab.Cells(); cells[3][1] != "1.20 ×" {
		t.Errorf("ratio %s", cells[3][1])
	}
	tab.Set(0, 0, []float64{0, 0, 0})
	tab.AddRatio("linesplit", "HAProxy")
	if cells := tab.Cells(); cells[4][1] != "–" {
		t.Errorf("ratio to 0: %s", cells[4][1])
	}
}
