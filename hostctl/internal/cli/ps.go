package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"picolab/hostctl/internal/labs"
)

func psCmd(e *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "List labs and their guests",
		Example: "  hostctl ps\n  hostctl ps --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return ps(cmd.Context(), e, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of labs")
	return cmd
}

func ps(ctx context.Context, e *Env, asJSON bool) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	all, err := store.List(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(e.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	return printLabs(e.Stdout, all)
}

func printLabs(w io.Writer, all []labs.State) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LAB\tGUEST\tSTATE\tACCEL\tUPTIME\tPID\tNICS")
	for _, l := range all {
		uptime := (time.Duration(l.UptimeMS) * time.Millisecond).Round(time.Second)
		fmt.Fprintf(t, "%s\t-\t%s\t%s\t%v\t%d\t\n", l.Name, l.Phase, l.Accel, uptime, l.Pid)
		for _, g := range l.Guests {
			fmt.Fprintf(t, "%s\t%s\t%s\t\t\t\t%s\n", l.Name, g.Name, g.State, nicText(g))
		}
	}
	return t.Flush()
}

func nicText(g labs.Guest) string {
	text := ""
	for i, n := range g.NICs {
		if i > 0 {
			text += ", "
		}
		text += n.Model
		if n.Address != "" {
			text += " " + n.Address
		}
	}
	return text
}
