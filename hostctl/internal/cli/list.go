package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/internal/runs"
)

func listCmd(e *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [SELECTOR...]",
		Short: "List the cases of the catalogue",
		Long: `A selector is a case's id (vnic.mac-change), a suite (vhostnet), a pattern with *
and ? over ids (*.ping*), or any of these with axis values in brackets
(vhostnet.ping[nic=e1000]). Without one, all cases are listed.`,
		Example: "  hostctl list vnic\n  hostctl list --json | jq -r '.[].id'",
		RunE:    func(_ *cobra.Command, args []string) error { return list(e, args, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of cases with id, title, seed, needs, matrix and more")
	return cmd
}

func list(e *Env, selectors []string, asJSON bool) error {
	set, err := runs.Catalogue()
	if err != nil {
		return err
	}
	cases, err := set.Match(selectors)
	if err != nil {
		return usage("%w", err)
	}
	if asJSON {
		enc := json.NewEncoder(e.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(cases)
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 8, 2, ' ', 0)
	for _, c := range cases {
		quick, full := instances(set, c, catalogue.Quick), instances(set, c, catalogue.Full)
		fmt.Fprintf(w, "%s\t%d/%d\t%s\n", c.ID, quick, full, c.Title)
	}
	return w.Flush()
}

// instances counts what a case is in a profile.
func instances(set *catalogue.Set, c *catalogue.Case, p catalogue.Profile) int {
	sel, err := set.Select([]string{c.ID}, nil, p)
	if err != nil {
		return 0
	}
	return len(sel.Instances)
}
