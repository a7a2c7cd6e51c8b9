package catalogue

import (
	"fmt"
	"path"
	"strings"
)

// Selector is one word of the command line that picks cases: an id, a suite's
// name, or a pattern with * and ? over ids, then optionally axis values:
//
//	vnic.mac-change
//	vhostnet
//	*.ping*
//	vhostnet.ping[nic=e1000]
//	*[nic=virtio,vhost=on]
type Selector struct {
	text    string
	pattern string
	want    map[string][]string
}

// ParseSelector reads a selector.
func ParseSelector(s string) (Selector, error) {
	sel := Selector{text: s, pattern: s}
	if head, axes, ok := strings.Cut(s, "["); ok {
		axes, closed := strings.CutSuffix(axes, "]")
		if !closed {
			return Selector{}, fmt.Errorf("parse selector %q: no closing bracket", s)
		}
		want, err := ParseAxes(strings.Split(axes, ","))
		if err != nil {
			return Selector{}, fmt.Errorf("parse selector %q: %w", s, err)
		}
		sel.pattern, sel.want = head, want
	}
	if _, err := path.Match(sel.pattern, ""); err != nil || sel.pattern == "" {
		return Selector{}, fmt.Errorf("parse selector %q: not an id, a suite or a pattern", s)
	}
	return sel, nil
}

// ParseAxes reads words axis=value; an axis that comes again has all its values.
func ParseAxes(words []string) (map[string][]string, error) {
	want := map[string][]string{}
	for _, w := range words {
		axis, value, ok := strings.Cut(w, "=")
		if !ok || axis == "" || value == "" {
			return nil, fmt.Errorf("%q is not axis=value", w)
		}
		want[axis] = append(want[axis], strings.Split(value, ",")...)
	}
	return want, nil
}

// match reports whether the selector picks the case: its pattern fits and the
// case has all the axes it names.
func (sel Selector) match(c *Case) bool {
	fits, _ := path.Match(sel.pattern, c.ID)
	if !fits && sel.pattern != c.Suite() {
		return false
	}
	for axis := range sel.want {
		if c.axis(axis) == nil {
			return false
		}
	}
	return true
}
