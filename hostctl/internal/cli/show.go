package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/runs"
)

func showCmd(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show a case: its steps, its criterion, what it varies over",
		Example: "  hostctl show vhostnet.jumbo",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return show(e, args[0]) },
	}
}

func show(e *Env, id string) error {
	set, err := runs.Catalogue()
	if err != nil {
		return err
	}
	c := set.Case(id)
	if c == nil {
		return usage("show: no case %q (hostctl list shows all)", id)
	}
	sel, err := set.Select([]string{id}, nil, catalogue.Full)
	if err != nil {
		return err
	}
	p := &sheet{w: e.Stdout}
	p.head(c)
	p.list("steps", c.Steps)
	p.deviations(c)
	p.matrix(c)
	p.params(c)
	p.instances(sel)
	return p.err
}

// sheet writes a case for people and keeps the first error.
type sheet struct {
	w   io.Writer
	err error
}

func (p *sheet) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *sheet) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	p.printf("\n%s:\n", title)
	for i, l := range lines {
		p.printf("  %d. %s\n", i+1, l)
	}
}

func (p *sheet) head(c *catalogue.Case) {
	p.printf("%s: %s\n\n", c.ID, c.Title)
	p.printf("seed:      %s, item %s\n", c.Seed.Doc, c.Seed.Item)
	p.printf("criterion: %s\n", c.Seed.Criterion)
	if c.Seed.Note != "" {
		p.printf("note:      %s\n", c.Seed.Note)
	}
	p.printf("needs:     %s\n", strings.Join(c.Needs, " "))
	tiers := make([]string, len(c.Where))
	for i, t := range c.Where {
		tiers[i] = string(t)
	}
	p.printf("runs in:   %s\n", strings.Join(tiers, " "))
	p.printf("lab:       %s\n", c.Topology)
}

func (p *sheet) deviations(c *catalogue.Case) {
	if len(c.Deviations) > 0 {
		p.printf("\ndeviations:\n")
	}
	for _, d := range c.Deviations {
		p.printf("  %s: the seed says %q, asked for is %q: %s\n", d.Check, d.Seed, d.Modern, d.Reason)
	}
}

func (p *sheet) matrix(c *catalogue.Case) {
	if len(c.Matrix.Axes) > 0 {
		p.printf("\naxes:\n")
	}
	for _, a := range c.Matrix.Axes {
		p.printf("  %s: %s", a.Name, strings.Join(a.Values, ", "))
		if len(a.Quick) > 0 {
			p.printf(" (quick: %s)", strings.Join(a.Quick, ", "))
		}
		for _, v := range a.Values {
			if n := a.Needs[v]; len(n) > 0 {
				p.printf("; %s needs %s", v, strings.Join(n, " "))
			}
		}
		p.printf("\n")
	}
	switch {
	case c.Matrix.Sparse:
		p.printf("  the quick profile has each value once\n")
	case len(c.Matrix.Axes) > 0:
		p.printf("  the quick profile has any two values together once\n")
	}
}

func (p *sheet) params(c *catalogue.Case) {
	names := make([]string, 0, len(c.Params.Full))
	for n := range c.Params.Full {
		names = append(names, n)
	}
	slices.Sort(names)
	if len(names) > 0 {
		p.printf("\nparameters:\n")
	}
	for _, n := range names {
		p.printf("  %s: %s", n, c.Params.Full[n])
		if q, ok := c.Params.Quick[n]; ok {
			p.printf(" (quick: %s)", q)
		}
		p.printf("\n")
	}
}

func (p *sheet) instances(sel catalogue.Selection) {
	p.printf("\ninstances:\n")
	for _, in := range sel.Instances {
		p.printf("  %s\n", in.ID())
	}
	for _, ex := range sel.Excluded {
		p.printf("  %s is excluded: %s\n", ex.Instance, ex.Reason)
	}
}
