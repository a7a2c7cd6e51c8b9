package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/runs"
)

func mergeCmd(e *Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "merge DIR... -o OUT",
		Short: "Join the shards of a run into one",
		Long: `Joins the results and the evidence of runs of one catalogue and profile, such as
those of run --shard, into a new folder, and makes its report. No two may have an
instance in common. The exit code is that of the whole, as run's is.`,
		Example: `  hostctl run --shard 1/2 -o one    # on one machine
  hostctl run --shard 2/2 -o two    # on another
  hostctl merge one two -o whole`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return merge(e, args, output) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "folder for the whole")
	if err := cmd.MarkFlagRequired("output"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func merge(e *Env, dirs []string, into string) error {
	out, err := runs.Merge(dirs, into)
	if errors.Is(err, runs.ErrMerge) || errors.Is(err, runs.ErrFolder) {
		return usage("%w", err)
	}
	if err != nil {
		return err
	}
	return summarize(e, out, into)
}
