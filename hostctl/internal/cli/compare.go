package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/runs"
	"picolab/hostctl/report"
	"picolab/hostctl/report/compare"
	"picolab/hostctl/report/page"
)

// defaultThreshold is how many percent a figure may be worse before it is a regression.
const defaultThreshold = 10

func compareCmd(e *Env) *cobra.Command {
	var html string
	var fail bool
	threshold := float64(defaultThreshold)
	cmd := &cobra.Command{
		Use:   "compare OLD NEW",
		Short: "Tell what changed between two runs: verdicts, and figures with their significance",
		Long: `Compares the results of two runs' folders. A side may be several folders of equal
runs, with commas between: the more values a figure has, the smaller the changes
that can be told from noise (Mann-Whitney U test, alpha 0.05; "~" is noise). With
--fail the exit code is 1 when a verdict got worse, or a figure by more than the
threshold; a figure with too few values for the test is judged by the threshold
alone.`,
		Example: `  hostctl compare build/monday build/tuesday
  hostctl compare a1,a2,a3 b1,b2,b3 --html changes.html
  hostctl compare baseline build/lab --fail --threshold 5`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := compared(args[0], args[1])
			if err != nil {
				return err
			}
			if err := showComparison(e, c, html); err != nil || !fail {
				return err
			}
			return regressions(e.Stdout, c, threshold)
		},
	}
	cmd.Flags().StringVar(&html, "html", "", "write the comparison as a page to this file too")
	cmd.Flags().BoolVar(&fail, "fail", false, "exit with 1 on a regression")
	cmd.Flags().Float64Var(&threshold, "threshold", defaultThreshold, "percent that a figure may be worse")
	return cmd
}

func compared(before, after string) (*compare.Comparison, error) {
	a, err := sideOf(before)
	if err != nil {
		return nil, err
	}
	b, err := sideOf(after)
	if err != nil {
		return nil, err
	}
	return compare.Of(a, b), nil
}

// sideOf loads folders with commas between them.
func sideOf(names string) (compare.Side, error) {
	s := compare.Side{Name: names}
	for _, dir := range strings.Split(names, ",") {
		out, err := runs.Load(dir)
		if err != nil {
			return s, usage("compare: %s: %w", dir, err)
		}
		s.Runs = append(s.Runs, out)
	}
	return s, nil
}

func showComparison(e *Env, c *compare.Comparison, html string) error {
	if err := c.Text(e.Stdout, colored(e.Stdout)); err != nil {
		return err
	}
	if html == "" {
		return nil
	}
	data, err := page.RenderComparison(c)
	if err != nil {
		return err
	}
	return report.WriteFile(html, data)
}

// regressions prints what got worse and turns it into an exit code.
func regressions(w io.Writer, c *compare.Comparison, threshold float64) error {
	worse := c.Regressions(threshold)
	if len(worse) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\n%d regressions:\n", len(worse))
	for _, line := range worse {
		fmt.Fprintln(w, "  "+line)
	}
	return &exitError{report.ExitFail, errors.New("worse than " + c.Old)}
}

// colored reports whether w wants colours.
func colored(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }
