package compare

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"picolab/hostctl/report"
)

// Text writes the comparison for a terminal.
func (c *Comparison) Text(w io.Writer, color bool) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "old: %s\nnew: %s\n", c.Old, c.New)
	for _, d := range c.Warnings {
		fmt.Fprintf(b, "differs: %s\n", d)
	}
	fmt.Fprintf(b, "\n%d verdicts changed, %d are the same\n", len(c.Verdicts), c.Unchanged)
	for _, v := range c.Verdicts {
		fmt.Fprintf(b, "  %s -> %s  %s\n", verdict(v.Old, color), verdict(v.New, color), v.Instance)
		if v.Reason != "" {
			fmt.Fprintf(b, "      %s\n", v.Reason)
		}
	}
	if len(c.Figures) > 0 {
		c.table(b)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

func (c *Comparison) table(w io.Writer) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "figure\told\tnew\tchange\tp\tn\n")
	last := ""
	for i := range c.Figures {
		f := &c.Figures[i]
		if f.Instance != last {
			fmt.Fprintf(t, "%s\n", f.Instance)
			last = f.Instance
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%d+%d\n", f.title(), f.quantity(f.Old), f.quantity(f.New), f.Change(), f.Probability(), f.OldN, f.NewN)
	}
	t.Flush() // w keeps its own error
}

// Change is the delta, or "~" when noise explains it.
func (c *FigureChange) Change() string {
	if !c.Significant {
		return "~"
	}
	mark := ""
	switch loss := c.Loss(); {
	case loss > 0:
		mark = " worse"
	case loss < 0:
		mark = " better"
	}
	if d := c.Delta(); !math.IsNaN(d) {
		return fmt.Sprintf("%+.1f%%%s", d, mark)
	}
	return "from 0" + mark
}

// Probability is P as text, or that there are too few values for a test.
func (c *FigureChange) Probability() string {
	if c.Warning != "" {
		return "too few"
	}
	return fmt.Sprintf("%.3f", c.P)
}

func verdict(v report.Verdict, color bool) string {
	if v == "" {
		return "not there"
	}
	return report.Colored(v, string(v), color)
}
