package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"picolab/images/inspect"
	"picolab/images/manifest"
)

// inspectOptions are the flags of inspect.
type inspectOptions struct{ json, packages, modules bool }

func inspectCommand(e *Env) *cobra.Command {
	o := new(inspectOptions)
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show what an image holds, and check its files",
		Long: `Inspect looks into IMAGE, a folder made by labimage build or a disk made by labimage disk (raw or qcow2): partitions,
boot menu, kernel, sizes by layer, packages and modules. Every file is compared with the digest in the image's manifest.
Lists of packages and modules are shown with --packages and --modules; --json has everything.`,
		Example: `  labimage inspect build/images/guest
  labimage inspect build/host.qcow2 --packages
  labimage inspect build/images/host --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeImages(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), e, args[0])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "write everything as JSON")
	f.BoolVar(&o.packages, "packages", false, "list the packages")
	f.BoolVar(&o.modules, "modules", false, "list the kernel modules")
	return cmd
}

func (o *inspectOptions) run(ctx context.Context, e *Env, path string) error {
	r, err := inspect.Open(ctx, path)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(e.Stdout, r)
	}
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	if r.Image != nil {
		showImage(w, r.Image)
	}
	if r.Disk != nil {
		showDisk(w, r.Disk)
	}
	if r.Image == nil {
		fmt.Fprintln(w, "image\tnone: no partition has a picolab image")
		return w.Flush()
	}
	o.showParts(w, r)
	return w.Flush()
}

func writeJSON(w io.Writer, v any) error {
	j := json.NewEncoder(w)
	j.SetIndent("", "  ")
	return j.Encode(v)
}

func showImage(w io.Writer, m *manifest.Manifest) {
	fmt.Fprintf(w, "image\t%s (%s, %s)\nid\t%s\nlock\t%s\n", m.Name, m.Kind, m.Architecture, m.ID, m.Lock)
	if m.KernelRelease != "" {
		fmt.Fprintf(w, "kernel\t%s\ncommand line\t%s\n", m.KernelRelease, strings.Join(m.CommandLine, " "))
	}
	for _, c := range m.Menu {
		fmt.Fprintf(w, "menu\t%s\t%s\n", c.Title, strings.Join(c.CommandLine, " "))
	}
}

func showDisk(w io.Writer, d *inspect.Disk) {
	fmt.Fprintf(w, "disk\t%s %s of %s, file of %s (%s on this machine), id %s\n", d.Table, d.Format, megabytes(d.Size), megabytes(d.FileSize), megabytes(d.Allocated), d.ID)
	for _, p := range d.Partitions {
		text := fmt.Sprintf("%s, %s from sector %d", p.Type, megabytes(p.Size), p.First)
		if p.FileSystem != "" {
			text += fmt.Sprintf(", %s %s: %s of files, %s free", p.FileSystem, p.Volume, megabytes(p.Files), megabytes(p.Free))
		}
		fmt.Fprintf(w, "partition %d\t%s\n", p.Number, text)
	}
	if d.Site {
		fmt.Fprintln(w, "site folder\tyes: the image is not as it was built")
	}
	if d.Results > 0 {
		fmt.Fprintf(w, "results\t%d\n", d.Results)
	}
}

func (o *inspectOptions) showParts(w io.Writer, r *inspect.Report) {
	for _, l := range r.Layers {
		line := fmt.Sprintf("%s\t%s\t%s", l.Role, l.Name, megabytes(l.Size))
		if l.Entries > 0 {
			line += fmt.Sprintf("\t%s in %d entries", megabytes(l.Unpacked), l.Entries)
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "packages\t%d\nmodules\t%d\n", len(r.Packages), len(r.Modules))
	if o.packages {
		for _, p := range r.Packages {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Type, p.Name, p.Version, p.Suite)
		}
	}
	if o.modules {
		for _, m := range r.Modules {
			fmt.Fprintf(w, "module\t%s\t%s\t%.1f kB\n", m.Name, m.Path, float64(m.Size)/1e3)
		}
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
