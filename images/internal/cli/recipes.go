package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"picolab/recipes"
)

func recipesCommand(e *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "recipes",
		Short:   "List the embedded recipes",
		Example: "  labimage recipes\n  labimage recipes --json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return listRecipes(e, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON array")
	return cmd
}

// recipeRow is a line of the list.
type recipeRow struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Description string `json:"description"`
}

func listRecipes(e *Env, asJSON bool) error {
	var rows []recipeRow
	for _, name := range recipes.Names() {
		r, err := recipes.Open(name)
		if err != nil {
			return err
		}
		rows = append(rows, recipeRow{name, r.Kind, r.Description})
	}
	if asJSON {
		return json.NewEncoder(e.Stdout).Encode(rows)
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.Kind, r.Description)
	}
	return w.Flush()
}
