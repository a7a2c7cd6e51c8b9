package compare

import "fmt"

// Regressions says what got worse: every verdict that is no longer good, and every figure that is worse by more than
// threshold percent. A figure counts when the test calls its change significant; with too few values for a test the
// threshold alone decides, since a gate that cannot close is none.
func (c *Comparison) Regressions(threshold float64) []string {
	var all []string
	for i := range c.Verdicts {
		if v := &c.Verdicts[i]; v.Worse() {
			all = append(all, fmt.Sprintf("%s: %s -> %s: %s", v.Instance, orNone(string(v.Old)), orNone(string(v.New)), v.Reason))
		}
	}
	for i := range c.Figures {
		f := &c.Figures[i]
		if f.Loss() > threshold && (f.Significant || f.Warning != "") {
			all = append(all, fmt.Sprintf("%s: %s: %s -> %s, %.1f%% worse (threshold %g%%)",
				f.Instance, f.title(), f.quantity(f.Old), f.quantity(f.New), f.Loss(), threshold))
		}
	}
	return all
}

func (c *FigureChange) title() string {
	if c.Where == "" {
		return c.Name
	}
	return c.Name + " at " + c.Where
}

func (c *FigureChange) quantity(v float64) string { return fmt.Sprintf("%.4g %s", v, c.Unit) }

func orNone(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}
