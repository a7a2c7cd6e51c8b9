package cli

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"picolab/recipes"
	"picolab/recipes/lock"
)

func recipesCommand(e *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "recipes",
		Short: "List the embedded recipes",
		Long: `Recipes lists the recipes that this program carries: kind, packages of the lock and what they weigh, limits, description.
Each can be built by its name, and extended by a recipe of your own: see labimage new.`,
		Example:           "  labimage recipes\n  labimage recipes --json",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return listRecipes(e, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON array")
	return cmd
}

// recipeRow is a line of the list. Sizes are bytes.
type recipeRow struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	Description string `json:"description"`
	Kernel      string `json:"kernel,omitempty"`
	Packages    int    `json:"packages"`
	Download    int64  `json:"download"`
	Boot        int64  `json:"limit_boot,omitempty"`
	Root        int64  `json:"limit_root,omitempty"`
}

func listRecipes(e *Env, asJSON bool) error {
	var rows []recipeRow
	for _, name := range recipes.Names() {
		row, err := describe(name)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if asJSON {
		return writeJSON(e.Stdout, rows)
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d packages, %s\tboots from at most %s\t%s\n", r.Name, r.Kind, r.Packages, megabytes(r.Download), megabytes(r.Boot), r.Description)
	}
	return w.Flush()
}

func describe(name string) (recipeRow, error) {
	r, err := recipes.Open(name)
	if err != nil {
		return recipeRow{}, err
	}
	l, err := lock.Open(name, r)
	if err != nil {
		return recipeRow{}, err
	}
	row := recipeRow{Name: name, Kind: r.Kind, Description: r.Description, Packages: len(l.Packages), Download: l.Size()}
	if i := slices.IndexFunc(l.Packages, func(p lock.Package) bool { return p.Role == lock.RoleKernel }); i >= 0 {
		row.Kernel = l.Packages[i].Name
	}
	if row.Boot, err = r.Limits.Boot.Bytes(); err != nil {
		return row, err
	}
	row.Root, err = r.Limits.Root.Bytes()
	return row, err
}
