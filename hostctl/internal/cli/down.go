package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/labs"
)

func downCmd(e *Env) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "down LAB...|--all",
		Short:   "End labs; one that does not run is no error",
		Example: "  hostctl down lab\n  hostctl down --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usage("down: name labs, or give --all")
			}
			return down(cmd.Context(), e, args, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "end every lab")
	return cmd
}

func down(ctx context.Context, e *Env, names []string, all bool) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	if all {
		if names, err = store.Names(); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range names {
		err := store.Down(ctx, name)
		switch {
		case errors.Is(err, labs.ErrUnknown):
			fmt.Fprintf(e.Stdout, "lab %s does not run\n", name)
		case err != nil:
			errs = append(errs, err)
		default:
			fmt.Fprintf(e.Stdout, "lab %s is down\n", name)
		}
	}
	return errors.Join(errs...)
}
