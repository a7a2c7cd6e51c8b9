package tree

import (
	"cmp"
	"fmt"
	"slices"
)

// Difference is one path at which two trees are not the same.
type Difference struct {
	Path string
	What string // "only in the first", "mode 0644, 0755", ...
}

// String gives path and difference on one line.
func (d Difference) String() string { return fmt.Sprintf("%s: %s", d.Path, d.What) }

// Diff returns every difference between a and b, sorted by path; none means
// that their digests are equal.
func Diff(a, b *Tree) []Difference {
	out := append(missing(a, b, "only in the first"), missing(b, a, "only in the second")...)
	for path, n := range a.entries {
		o, ok := b.entries[path]
		if !ok {
			continue
		}
		if what := n.differs(o.Entry); what != "" {
			out = append(out, Difference{path, what})
		}
	}
	slices.SortFunc(out, func(x, y Difference) int { return cmp.Compare(x.Path, y.Path) })
	return out
}

// missing lists what a has and b has not.
func missing(a, b *Tree, what string) []Difference {
	var out []Difference
	for path := range a.entries {
		if _, ok := b.entries[path]; !ok {
			out = append(out, Difference{path, what})
		}
	}
	return out
}
