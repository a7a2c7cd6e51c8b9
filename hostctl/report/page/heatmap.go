package page

import (
	"maps"
	"slices"
	"strings"

	"picolab/hostctl/report"
)

// columnAxis is the axis whose values are the columns of the map: what a reader asks first of a failure is the card.
const columnAxis = "nic"

// heatMap has a row for each case and a column for each network card; a cell has a square for each instance.
type heatMap struct {
	Columns []string
	Rows    []heatRow
}

type heatRow struct {
	Name, Anchor string
	Cells        [][]square
}

type square struct {
	Verdict report.Verdict
	Letter  string
	Anchor  string
	Title   string
}

// letters tell verdicts apart without colours.
var letters = map[report.Verdict]string{report.Pass: "✓", report.Fail: "F", report.Error: "E", report.Skip: "–",
	report.XFail: "x", report.XPass: "X", report.Degraded: "d"}

func newHeatMap(all []report.Result) heatMap {
	columns := map[string]bool{}
	for i := range all {
		columns[column(all[i].Instance)] = true
	}
	m := heatMap{Columns: slices.Sorted(maps.Keys(columns))}
	for _, g := range report.ByCase(all) {
		row := heatRow{Name: g.Name, Anchor: "case-" + anchor(g.Name), Cells: make([][]square, len(m.Columns))}
		for _, r := range g.Results {
			i := slices.Index(m.Columns, column(r.Instance))
			row.Cells[i] = append(row.Cells[i], newSquare(&r))
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func newSquare(r *report.Result) square {
	title := r.Instance + ": " + string(r.Result)
	if r.Reason != "" {
		title += ": " + report.FirstLine(r.Reason)
	}
	return square{r.Result, letters[r.Result], anchor(r.Instance), title}
}

// column is an instance's value of the column axis, or "".
func column(instance string) string {
	for _, axis := range report.Axes(instance) {
		if v, ok := strings.CutPrefix(axis, columnAxis+"="); ok {
			return v
		}
	}
	return ""
}
