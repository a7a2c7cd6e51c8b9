package report

import (
	"maps"
	"slices"
	"strings"
)

// Abscissa returns the parameter that a figure was measured over: of those with several values the one with most of them,
// the first by name when two have as many. It is empty when the figure has one place only.
func Abscissa(results []Result, figure string) string {
	values := map[string]map[string]bool{}
	for f := range figuresOf(results, figure) {
		for k, v := range f.At {
			if values[k] == nil {
				values[k] = map[string]bool{}
			}
			values[k][v] = true
		}
	}
	best := ""
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if n := len(values[k]); n > 1 && (best == "" || n > len(values[best])) {
			best = k
		}
	}
	return best
}

// Collect returns the medians of a figure as series over parameter x, and the values of x in order.
func Collect(results []Result, figure, x string) (xs []string, series []Series) {
	at := map[string]int{} // index of a series by its label
	seen := map[string]bool{}
	for f, r := range figuresOf(results, figure) {
		place, ok := f.At[x]
		if !ok {
			continue
		}
		label := seriesLabel(r, f, x)
		i, ok := at[label]
		if !ok {
			i = len(series)
			at[label] = i
			series = append(series, Series{Label: label})
		}
		series[i].Points = append(series[i].Points, Point{place, f.Median()})
		if !seen[place] {
			seen[place] = true
			xs = append(xs, place)
		}
	}
	slices.SortFunc(xs, numeric)
	for i := range series {
		slices.SortStableFunc(series[i].Points, func(a, b Point) int { return numeric(a.X, b.X) })
	}
	return xs, series
}

// figuresOf goes over the figures of a name with their results.
func figuresOf(results []Result, name string) func(func(*Figure, *Result) bool) {
	return func(yield func(*Figure, *Result) bool) {
		for i := range results {
			for j := range results[i].Figures {
				if f := &results[i].Figures[j]; f.Name == name && !yield(f, &results[i]) {
					return
				}
			}
		}
	}
}

// seriesLabel is the instance's axes and the figure's other parameters.
func seriesLabel(r *Result, f *Figure, x string) string {
	words := Axes(r.Instance)
	for _, k := range slices.Sorted(maps.Keys(f.At)) {
		if k != x {
			words = append(words, k+"="+f.At[k])
		}
	}
	if len(words) == 0 {
		return r.Case
	}
	return strings.Join(words, " ")
}
