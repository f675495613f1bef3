package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"linesplit/bench/report"
)

// Sizes of a drawing, in points.
const (
	width      vg.Length = 460
	lineHeight vg.Length = 300 // height of a line chart
	frame      vg.Length = 76  // title, axis and axis label, above and below bars
	legendRow  vg.Length = 16
	margin     vg.Length = 8
	barHeight  vg.Length = 13
	barGap     vg.Length = 9 // between groups of bars
	dotRadius  vg.Length = 3.2
)

// groupFill is the share of a group's height that its bars fill.
const groupFill = 0.76

// labelRoom is the length of the axis in units of the longest bar. It leaves room for the figure
// after that bar.
const labelRoom = 1.22

// drawing is a figure while it is drawn.
type drawing struct {
	report.Figure
	palette
	plot    *plot.Plot
	height  vg.Length
	legends [2]plot.Legend // side by side, below the plot
	entries int            // in both legends
}

// render returns a figure as SVG.
func render(f report.Figure, p palette) ([]byte, error) {
	d := &drawing{Figure: f, palette: p, plot: plot.New(), height: lineHeight}
	d.style()
	var err error
	switch f.Kind {
	case report.KindBars:
		err = d.bars()
	case report.KindDots:
		err = d.dots()
	case report.KindLines:
		err = d.lines()
	default:
		err = fmt.Errorf("unknown kind of figure: %q", f.Kind)
	}
	if err != nil {
		return nil, err
	}
	return d.svg()
}

// bars draws horizontal bars from 0, one group for each label.
func (d *drawing) bars() error {
	d.grouped()
	d.plot.X.Tick.Marker = plain{}
	d.plot.X.Min, d.plot.X.Max = 0, max(d.highest()*labelRoom, 1e-3)
	for k, s := range d.Series {
		for i, p := range s.Points {
			if p == nil {
				continue
			}
			y, half := d.y(i, k), groupFill/2/float64(len(d.Series))
			bar, err := plotter.NewPolygon(plotter.XYs{
				{X: 0, Y: y - half}, {X: p.Median, Y: y - half}, {X: p.Median, Y: y + half}, {X: 0, Y: y + half},
			})
			if err != nil {
				return err
			}
			bar.Color, bar.LineStyle.Width = d.color(i, k), 0
			d.plot.Add(bar)
		}
		if err := d.ranges(k, true); err != nil {
			return err
		}
		if err := d.figures(k); err != nil {
			return err
		}
		d.name(k, &plotter.Polygon{Color: d.color(0, k)})
	}
	return nil
}

// figures writes each median after its bar, with a question mark if it is noisy.
func (d *drawing) figures(k int) error {
	var at plotter.XYLabels
	for i, p := range d.Series[k].Points {
		if p == nil {
			continue
		}
		text := report.Number(p.Median)
		if p.Noisy {
			text += " ?"
		}
		at.XYs = append(at.XYs, plotter.XY{X: max(p.Median, p.High), Y: d.y(i, k)})
		at.Labels = append(at.Labels, text)
	}
	if len(at.XYs) == 0 {
		return nil
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return err
	}
	labels.Offset = vg.Point{X: 4}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Color, labels.TextStyle[i].Font = d.text, sans(9)
		labels.TextStyle[i].YAlign = draw.YCenter
	}
	d.plot.Add(labels)
	return nil
}

// dots draws marks on a logarithmic scale, which begins and ends at a power of ten.
func (d *drawing) dots() error {
	d.positive()
	d.grouped()
	d.plot.X.Scale, d.plot.X.Tick.Marker = plot.LogScale{}, decades{}
	d.plot.X.Min, d.plot.X.Max = decadesAround(d.lowest(), d.highest())
	for k := range d.Series {
		if err := d.ranges(k, true); err != nil {
			return err
		}
		at := func(i int, p *report.Point) plotter.XY { return plotter.XY{X: p.Median, Y: d.y(i, k)} }
		if err := d.marks(k, at); err != nil {
			return err
		}
		if len(d.Series) > 1 {
			continue
		}
		if err := d.figures(k); err != nil {
			return err
		}
	}
	return nil
}

// positive removes what a logarithmic scale cannot show: medians of 0, and the lower part of ranges
// that begin at 0.
func (d *drawing) positive() {
	d.Series = slices.Clone(d.Series) // does not change the caller's figure
	for k, s := range d.Series {
		points := make([]*report.Point, len(s.Points))
		for i, p := range s.Points {
			if p == nil || p.Median <= 0 {
				continue
			}
			shown := *p
			if p.Low <= 0 {
				shown.Low = p.Median
			}
			points[i] = &shown
		}
		d.Series[k].Points = points
	}
}

// decadesAround returns the powers of ten around some values, with room for a figure after the
// highest.
func decadesAround(lowest, highest float64) (from, to float64) {
	if highest == 0 {
		return 1, 10
	}
	return math.Pow(10, math.Floor(math.Log10(lowest))), math.Pow(10, math.Ceil(math.Log10(highest*1.3)))
}

// lines draws a line for each series over evenly spaced labels.
func (d *drawing) lines() error {
	d.plot.NominalX(d.Labels...)
	d.plot.X.Label.Text, d.plot.Y.Label.Text = d.Axis, d.Unit
	d.plot.X.Min, d.plot.X.Max = -0.3, float64(len(d.Labels))-0.7
	d.plot.Y.Tick.Marker = plain{}
	d.plot.Y.Min, d.plot.Y.Max = 0, max(d.highest()*1.05, 1e-3)
	d.grid(false, true)
	for k, s := range d.Series {
		var path plotter.XYs
		for i, p := range s.Points {
			if p != nil {
				path = append(path, plotter.XY{X: float64(i), Y: p.Median})
			}
		}
		if len(path) == 0 {
			continue
		}
		line, err := plotter.NewLine(path)
		if err != nil {
			return err
		}
		line.Color, line.Width = d.color(-1, k), 1.6
		d.plot.Add(line)
		if err := d.ranges(k, false); err != nil {
			return err
		}
		at := func(i int, p *report.Point) plotter.XY { return plotter.XY{X: float64(i), Y: p.Median} }
		if err := d.marks(k, at); err != nil {
			return err
		}
	}
	return nil
}

// grouped prepares the plot for a group of values per label, with the first label on top.
func (d *drawing) grouped() {
	n := len(d.Labels)
	names := make([]string, n)
	for i, label := range d.Labels {
		names[n-1-i] = label
	}
	d.plot.NominalY(names...)
	d.plot.Y.Min, d.plot.Y.Max = -0.5, float64(n)-0.5
	d.plot.X.Label.Text = d.Unit
	d.height = frame + vg.Length(n)*(vg.Length(len(d.Series))*barHeight+barGap)
	d.grid(true, false)
}

// y returns the vertical position of a series within the group of a label.
func (d *drawing) y(label, k int) float64 {
	share := groupFill / float64(len(d.Series))
	return float64(len(d.Labels)-1-label) + groupFill/2 - (float64(k)+0.5)*share
}

// ranges draws an error bar from the lowest to the highest value of each point of a series,
// horizontally if across is set.
func (d *drawing) ranges(k int, across bool) error {
	var at plotter.XYs
	var lengths []struct{ Low, High float64 } // of the bar to both sides of the median
	for i, p := range d.Series[k].Points {
		if p == nil || p.High <= p.Low {
			continue
		}
		xy := plotter.XY{X: float64(i), Y: p.Median}
		if across {
			xy = plotter.XY{X: p.Median, Y: d.y(i, k)}
		}
		at = append(at, xy)
		lengths = append(lengths, struct{ Low, High float64 }{p.Median - p.Low, p.High - p.Median})
	}
	if len(at) == 0 {
		return nil
	}
	style := draw.LineStyle{Color: d.text, Width: 1}
	if across {
		bars, err := plotter.NewXErrorBars(struct {
			plotter.XYs
			plotter.XErrors
		}{at, lengths})
		if err != nil {
			return err
		}
		bars.LineStyle, bars.CapWidth = style, 5
		d.plot.Add(bars)
		return nil
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{at, lengths})
	if err != nil {
		return err
	}
	style.Color = d.color(-1, k)
	bars.LineStyle, bars.CapWidth = style, 5
	d.plot.Add(bars)
	return nil
}

// marks draws a mark for each point of a series, hollow if the point is noisy, and adds the series
// to the legend.
func (d *drawing) marks(k int, at func(int, *report.Point) plotter.XY) error {
	var sure, noisy plotter.XYs
	for i, p := range d.Series[k].Points {
		switch {
		case p == nil:
		case p.Noisy:
			noisy = append(noisy, at(i, p))
		default:
			sure = append(sure, at(i, p))
		}
	}
	for _, m := range []struct {
		points plotter.XYs
		hollow bool
	}{{sure, false}, {noisy, true}} {
		if len(m.points) == 0 {
			continue
		}
		marks, err := plotter.NewScatter(m.points)
		if err != nil {
			return err
		}
		marks.GlyphStyle = d.mark(k, m.hollow)
		if len(d.Series) == 1 && d.Kind == report.KindDots {
			marks.GlyphStyleFunc = d.ownColors(marks.XYs, marks.GlyphStyle)
		}
		d.plot.Add(marks)
	}
	d.name(k, &plotter.Scatter{GlyphStyle: d.mark(k, false)})
	return nil
}

// ownColors gives each mark the color of its label.
func (d *drawing) ownColors(at plotter.XYs, style draw.GlyphStyle) func(int) draw.GlyphStyle {
	return func(n int) draw.GlyphStyle {
		style.Color = d.color(len(d.Labels)-1-int(math.Round(at[n].Y)), 0)
		return style
	}
}

// lowest returns the lowest value of all ranges.
func (d *drawing) lowest() float64 {
	lowest := math.Inf(1)
	d.each(func(p *report.Point) { lowest = min(lowest, p.Low) })
	return lowest
}

// highest returns the highest value of all ranges.
func (d *drawing) highest() float64 {
	highest := 0.0
	d.each(func(p *report.Point) { highest = max(highest, p.High) })
	return highest
}

// each calls f for all points.
func (d *drawing) each(f func(*report.Point)) {
	for _, s := range d.Series {
		for _, p := range s.Points {
			if p != nil {
				f(p)
			}
		}
	}
}

// plain is the default ticks, with labels that have no trailing zeros.
type plain struct{}

// Ticks returns the ticks between two values.
func (plain) Ticks(from, to float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(from, to)
	for i, t := range ticks {
		if !t.IsMinor() {
			ticks[i].Label = strconv.FormatFloat(math.Round(t.Value*1e6)/1e6, 'f', -1, 64)
		}
	}
	return ticks
}

// decades is the ticks of a logarithmic scale. Only powers of ten have labels.
type decades struct{}

// Ticks returns the ticks between two powers of ten.
func (decades) Ticks(from, to float64) (ticks []plot.Tick) {
	for v := from; v <= to*1.001; v *= 10 {
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
		for n := 2.0; n < 10 && v*n < to; n++ {
			ticks = append(ticks, plot.Tick{Value: v * n})
		}
	}
	return ticks
}
