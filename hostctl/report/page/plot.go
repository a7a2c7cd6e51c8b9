package page

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"picolab/hostctl/report"
)

// Sizes of a plot in units of its view box; the browser scales it to the width it has.
const (
	plotWidth, plotHeight = 640.0, 260.0
	plotLeft, plotRight   = 64.0, 40.0
	plotTop, plotBottom   = 14.0, 46.0
	colours               = 8 // classes c0 to c7 of the style sheet
)

// axis maps values to places.
type axis struct {
	ticks []float64
	log   bool
	low   float64
	high  float64
}

// place returns where v lies between 0, the axis' low end, and 1.
func (a axis) place(v float64) float64 {
	if a.log {
		return math.Log(max(v, a.low)/a.low) / math.Log(a.high/a.low)
	}
	return (v - a.low) / (a.high - a.low)
}

// scale chooses an axis for values: from zero, or by powers of ten when they span more than three of them.
func scale(values []float64) axis {
	high := slices.Max(values)
	least := math.Inf(1)
	for _, v := range values {
		if v > 0 {
			least = min(least, v)
		}
	}
	if least > 0 && high/least > 1000 {
		return powers(least, high)
	}
	if high <= 0 {
		high = 1
	}
	return linear(high)
}

func powers(least, high float64) axis {
	a := axis{log: true, low: math.Pow10(int(math.Floor(math.Log10(least)))), high: math.Pow10(int(math.Ceil(math.Log10(high))))}
	for v := a.low; v <= a.high*1.001; v *= 10 {
		a.ticks = append(a.ticks, v)
	}
	return a
}

// linear has four or more ticks at 1, 2 or 5 times a power of ten.
func linear(high float64) axis {
	step := math.Pow10(int(math.Floor(math.Log10(high))))
	for _, f := range []float64{0.5, 0.4, 0.5} {
		if high/step < 4 {
			step *= f
		}
	}
	a := axis{high: math.Ceil(high/step-1e-9) * step}
	for i := 0; float64(i)*step <= a.high*1.001; i++ {
		a.ticks = append(a.ticks, float64(i)*step)
	}
	return a
}

// plot draws series as lines over the values of x, which are placed at equal distances in their order. It returns nothing
// for series without a point.
func plot(unit, xName string, xs []string, series []report.Series) template.HTML {
	var values []float64
	for _, s := range series {
		for _, p := range s.Points {
			values = append(values, p.Value)
		}
	}
	if len(values) == 0 {
		return ""
	}
	d := drawing{xs: xs, y: scale(values)}
	d.printf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s over %s">`, plotWidth, plotHeight, esc(unit), esc(xName))
	d.frame(unit, xName)
	for i, s := range series {
		d.points(i%colours, s)
		if numbers(xs) {
			d.line(i%colours, s)
		}
	}
	d.printf(`</svg>`)
	return template.HTML(d.String()) // every text in it went through esc
}

type drawing struct {
	strings.Builder
	xs []string
	y  axis
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d, format, args...) }

func (d *drawing) px(i int) float64 {
	n := max(len(d.xs)-1, 1)
	return plotLeft + (plotWidth-plotLeft-plotRight)*(float64(i)+0.02)/(float64(n)+0.04)
}

func (d *drawing) py(v float64) float64 {
	return plotHeight - plotBottom - (plotHeight-plotTop-plotBottom)*d.y.place(v)
}

func (d *drawing) frame(unit, xName string) {
	for _, t := range d.y.ticks {
		y := d.py(t)
		d.printf(`<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, plotLeft, plotWidth-plotRight, y, y)
		d.printf(`<text x="%.1f" y="%.1f" text-anchor="end">%s</text>`, plotLeft-6, y+4, short(t))
	}
	for i, x := range d.xs {
		d.printf(`<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, d.px(i), plotHeight-plotBottom+16, esc(x))
	}
	d.printf(`<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, plotLeft+(plotWidth-plotLeft)/2, plotHeight-8, esc(xName))
	d.printf(`<text transform="translate(12 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, (plotHeight-plotBottom)/2, esc(unit))
}

// numbers reports whether places have an order that a line may follow.
func numbers(xs []string) bool {
	return !slices.ContainsFunc(xs, func(x string) bool { _, ok := report.Quantity(x); return !ok })
}

func (d *drawing) at(p report.Point) (x, y float64) {
	return d.px(slices.Index(d.xs, p.X)), d.py(p.Value)
}

func (d *drawing) points(colour int, s report.Series) {
	for _, p := range s.Points {
		x, y := d.at(p)
		d.printf(`<circle class="c%d" cx="%.1f" cy="%.1f" r="3"><title>%s, %s: %s</title></circle>`,
			colour, x, y, esc(s.Label), esc(p.X), short(p.Value))
	}
}

func (d *drawing) line(colour int, s report.Series) {
	var path []string
	for _, p := range s.Points {
		x, y := d.at(p)
		path = append(path, fmt.Sprintf("%.1f,%.1f", x, y))
	}
	d.printf(`<polyline class="c%d" points="%s"/>`, colour, strings.Join(path, " "))
}

// short writes a number with as many digits as a person reads.
func short(v float64) string {
	for _, u := range []struct {
		from float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if math.Abs(v) >= u.from {
			unit := map[string]float64{"G": 1e9, "M": 1e6, "k": 1e3}[u.name]
			return strconv.FormatFloat(v/unit, 'g', 4, 64) + u.name
		}
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func esc(s string) string { return html.EscapeString(s) }
