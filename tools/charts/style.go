package main

import (
	"bytes"
	"encoding/xml"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// palette holds the colors of a drawing. The drawing has a background of its own, as it is shown on
// pages of any color.
type palette struct {
	background, text, faint color.Color
	colors                  []color.Color // of series; the first is linesplit's
}

var (
	light = palette{rgb(0xffffff), rgb(0x24292f), rgb(0xd8dee4), []color.Color{
		rgb(0x0969da), rgb(0xbc4c00), rgb(0x1a7f37), rgb(0x8250df),
		rgb(0x9a6700), rgb(0xbf3989), rgb(0x218bff), rgb(0x6e7781),
	}}
	dark = palette{rgb(0x0d1117), rgb(0xe6edf3), rgb(0x30363d), []color.Color{
		rgb(0x58a6ff), rgb(0xf0883e), rgb(0x3fb950), rgb(0xbc8cff),
		rgb(0xd29922), rgb(0xf778ba), rgb(0xa5d6ff), rgb(0x8b949e),
	}}
)

func rgb(v uint32) color.Color {
	return color.NRGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 0xff}
}

// contenders gives each contender the number of its color and mark, so that they are the same in
// all charts.
var contenders = map[string]int{"linesplit": 0, "HAProxy": 1, "HAProxy splicing": 1, "nginx stream": 2,
	"linesplit -mode connection": 3, "socat": 4, "rsyslog": 5, "io.Copy": 6, "direct": 7,
	"linesplit overflow": 6, "linesplit always": 3, "linesplit always, synced": 4, "rsyslog disk-assisted": 5,
	"syslog-ng disk-buffer": 1, "disk alone": 7}

var (
	glyphs       = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, diamond{}}
	hollowGlyphs = []draw.GlyphDrawer{draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, diamond{hollow: true}}
)

// diamond is a square that stands on a corner.
type diamond struct{ hollow bool }

// DrawGlyph draws the diamond around a point.
func (g diamond) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	r := style.Radius * 1.2
	var p vg.Path
	p.Move(vg.Point{X: at.X - r, Y: at.Y})
	p.Line(vg.Point{X: at.X, Y: at.Y + r})
	p.Line(vg.Point{X: at.X + r, Y: at.Y})
	p.Line(vg.Point{X: at.X, Y: at.Y - r})
	p.Close()
	if g.hollow {
		c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: 0.5})
		c.Stroke(p)
	} else {
		c.Fill(p)
	}
}

// color returns the color of series k. If it is the only series, its points have the colors of
// their labels: the result is then the color of a label, unless label is -1.
func (d *drawing) color(label, k int) color.Color {
	if len(d.Series) == 1 && label >= 0 {
		return d.colors[contenders[d.Labels[label]]%len(d.colors)]
	}
	return d.colors[d.styleOf(k)%len(d.colors)]
}

// styleOf returns the number of the color and mark of a series.
func (d *drawing) styleOf(k int) int {
	if n, ok := contenders[d.Series[k].Name]; ok {
		return n
	}
	return k
}

// mark returns the mark of a series.
func (d *drawing) mark(k int, hollow bool) draw.GlyphStyle {
	shapes := glyphs
	if hollow {
		shapes = hollowGlyphs
	}
	n := d.styleOf(k)
	return draw.GlyphStyle{Color: d.color(-1, k), Radius: dotRadius, Shape: shapes[n%len(shapes)]}
}

// name adds a series to the legend, unless it is the only one.
func (d *drawing) name(k int, thumb plot.Thumbnailer) {
	if len(d.Series) > 1 {
		d.legends[d.entries%2].Add(d.Series[k].Name, thumb)
		d.entries++
	}
}

// style sets the plot's colors and fonts.
func (d *drawing) style() {
	p := d.plot
	p.BackgroundColor = nil // svg fills the whole drawing
	p.Title.Text = d.Title
	p.Title.Padding = 6
	p.Title.TextStyle.Color = d.text
	p.Title.TextStyle.Font = sans(13)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color = d.faint
		axis.Label.TextStyle.Color, axis.Label.TextStyle.Font = d.text, sans(10)
		axis.Tick.Label.Color, axis.Tick.Label.Font = d.text, sans(10)
		axis.Tick.Color = d.faint
		axis.Padding = 0
	}
	for i := range d.legends {
		d.legends[i] = plot.NewLegend()
		d.legends[i].TextStyle.Color, d.legends[i].TextStyle.Font = d.text, sans(10)
		d.legends[i].Left, d.legends[i].Top = true, true
		d.legends[i].ThumbnailWidth, d.legends[i].Padding = 12, 4
	}
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// grid draws lines across the plot at the ticks of one axis.
func (d *drawing) grid(vertical, horizontal bool) {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = nil, nil
	if vertical {
		g.Vertical = draw.LineStyle{Color: d.faint, Width: 0.5}
	}
	if horizontal {
		g.Horizontal = draw.LineStyle{Color: d.faint, Width: 0.5}
	}
	d.plot.Add(g)
}

// svg puts plot and legends together.
func (d *drawing) svg() ([]byte, error) {
	below := legendRow * vg.Length((d.entries+1)/2)
	canvas := vgsvg.New(width, d.height+below)
	all := draw.New(canvas)
	all.FillPolygon(d.background,
		[]vg.Point{all.Min, {X: all.Max.X, Y: all.Min.Y}, all.Max, {X: all.Min.X, Y: all.Max.Y}})
	inner := draw.Crop(all, margin, -margin, margin, -margin)
	d.plot.Draw(draw.Crop(inner, 0, 0, below, 0))
	strip := draw.Crop(inner, 0, 0, 0, below-(inner.Max.Y-inner.Min.Y))
	half := (strip.Max.X - strip.Min.X) / 2
	d.legends[0].Draw(draw.Crop(strip, 0, -half, 0, 0))
	d.legends[1].Draw(draw.Crop(strip, half, 0, 0, 0))

	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	return d.accessible(out.String()), nil
}

// accessible adds what the plotting library leaves out: the figure in words for readers who cannot
// see it, and fallback fonts.
func (d *drawing) accessible(svg string) []byte {
	head, rest, _ := strings.Cut(svg, "<svg ")
	attributes, body, _ := strings.Cut(rest, ">")
	body = strings.ReplaceAll(body, "font-family:Liberation Sans",
		"font-family:'Liberation Sans',Arial,Helvetica,sans-serif")
	words := "<title>" + escape(d.Title) + "</title>\n<desc>" + escape(d.Figure.Text) + "</desc>"
	return []byte(head + `<svg role="img" ` + attributes + ">\n" + words + body)
}

func escape(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // a strings.Builder returns no errors
	return b.String()
}
