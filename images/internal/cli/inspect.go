package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"picolab/images/manifest"
)

func inspectCommand(e *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "inspect DIR",
		Short:   "Show what an image holds, and check its files",
		Example: "  labimage inspect build/images/guest\n  labimage inspect build/images/host --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inspect(cmd.Context(), e, args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the manifest")
	return cmd
}

func inspect(ctx context.Context, e *Env, dir string, asJSON bool) error {
	m, err := manifest.Read(dir)
	if err != nil {
		return err
	}
	if err := m.Verify(ctx); err != nil {
		return err
	}
	if asJSON {
		_, err := e.Stdout.Write(m.Encode())
		return err
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "image\t%s (%s, %s)\nid\t%s\nlock\t%s\n", m.Name, m.Kind, m.Architecture, m.ID, m.Lock)
	if m.KernelRelease != "" {
		fmt.Fprintf(w, "kernel\t%s\ncommand line\t%s\n", m.KernelRelease, strings.Join(m.CommandLine, " "))
	}
	for _, f := range m.Files {
		fmt.Fprintf(w, "%s\t%s\t%.1f MB\t%.12s\n", f.Role, f.Name, float64(f.Size)/1e6, f.SHA256)
	}
	if r := m.RootFS; r != nil {
		fmt.Fprintf(w, "root\t%s\t%d entries\t%.12s\n", r.Name, r.Entries, r.SHA256)
	}
	return w.Flush()
}
