package kmod

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// UnknownError says that a kernel has no module of a name.
type UnknownError struct {
	Name, Release string
	Near          []string // names much like it, the nearest first
}

// Error names the kernel, and what may have been meant.
func (e *UnknownError) Error() string {
	text := fmt.Sprintf("kernel %s has no module %q", e.Release, e.Name)
	if len(e.Near) > 0 {
		text += ": nearest are " + strings.Join(e.Near, ", ")
	}
	return text
}

// nearest returns up to three of names that a person may have meant by name.
// names must be sorted; equally near ones keep that order.
func nearest(name string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var near []candidate
	for _, n := range names {
		if far := distance(name, n); far <= 1+len(name)/4 {
			near = append(near, candidate{n, far})
		} else if len(name) > 2 && strings.Contains(n, name) {
			near = append(near, candidate{n, far})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
	var out []string
	for _, c := range near[:min(3, len(near))] {
		out = append(out, c.name)
	}
	return out
}

// distance is Levenshtein's: how many letters to add, drop or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
