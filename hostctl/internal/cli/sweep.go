package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func sweepCmd(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "Remove what dead labs left behind",
		Long: `A lab's processes, links and mounts vanish with it however it ends; what may stay is
its folder. sweep removes the folders of labs that do not run any more.`,
		Example: "  hostctl sweep",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return sweep(e) },
	}
}

func sweep(e *Env) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	gone, err := store.Sweep()
	for _, name := range gone {
		fmt.Fprintf(e.Stdout, "removed lab %s\n", name)
	}
	return err
}
