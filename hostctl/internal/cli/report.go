package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/runs"
	"picolab/hostctl/report"
	"picolab/hostctl/report/page"
)

func reportCmd(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "report DIR",
		Short: "Make the report of a run anew and print its summary",
		Long: `Reads results.jsonl and run.json of a run's folder and writes junit.xml,
results.tap, bench.txt (for benchstat) and report.html beside them, as "run" does
at its end: for a run that was killed, or by a newer hostctl.`,
		Example: "  hostctl report build/lab",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return makeReport(e, args[0]) },
	}
}

func makeReport(e *Env, dir string) error {
	out, err := runs.Load(dir)
	if err != nil {
		return usage("report: %w", err)
	}
	if err := runs.Derive(dir, out); err != nil {
		return err
	}
	return summarize(e, out, dir)
}

// summarize prints the end of a run; the exit code is the outcome's.
func summarize(e *Env, out *report.Outcome, dir string) error {
	if err := report.Summary(e.Stdout, out, colored(e.Stdout)); err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "results: %s\nreport:  %s\n", dir, filepath.Join(dir, page.File))
	if code := out.ExitCode(); code != 0 {
		return &exitError{code, nil}
	}
	return nil
}
