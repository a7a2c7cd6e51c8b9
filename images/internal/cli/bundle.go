package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"picolab/images/assemble"
	"picolab/images/bundle"
	"picolab/recipes/fetch"
)

// exportOptions are the flags of lock export.
type exportOptions struct {
	assemble.Source
	output, cache, derived, source string
}

func exportCommand(e *Env) *cobra.Command {
	o := new(exportOptions)
	cmd := &cobra.Command{
		Use:   "export RECIPE -o BUNDLE",
		Short: "Put everything that a build needs into one file",
		Long: `Export writes BUNDLE: the recipe in one text, its lock, every package and local file that the lock names, picolab's
sources that the recipe's commands are made of, and the Go modules these need. With it the image can be built for ever,
byte for byte, without a network: see labimage lock import. Only the Go toolchain is not in it; its version is.

Packages that are not in the store are downloaded first. The same inputs give the same bytes.`,
		Example: `  labimage lock export guest -o guest.bundle
  labimage lock export ./mine.yaml -o mine.bundle --offline`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRecipes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Recipe = args[0]
			return o.run(cmd.Context(), e)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "`file` to write (required)")
	f.StringVar(&o.Lock, "lock", "", "lock `file` (default: the recipe's)")
	f.StringVar(&o.Mirror, "mirror", "", "`URL` of the Debian archive")
	f.StringVar(&o.cache, "cache", "", "`directory` of the store of downloads")
	f.StringVar(&o.source, "source", "", "picolab's source `tree`")
	f.StringVar(&o.derived, "derived", "", "directory of caches that can be made again")
	f.BoolVar(&o.Offline, "offline", false, "do not use the network")
	hide(cmd, "derived")
	return cmd
}

func (o *exportOptions) run(ctx context.Context, e *Env) error {
	if o.output == "" {
		return usageError{errors.New("the bundle is missing: -o FILE")}
	}
	module, err := findSource(o.source)
	if err != nil {
		return err
	}
	store, err := fetch.Open(o.cache)
	if err != nil {
		return err
	}
	if o.derived == "" {
		if o.derived, err = store.Dir("derived"); err != nil {
			return err
		}
	}
	o.Progress, o.Warn = fetch.NewProgress(e.Stderr), e.say
	r, l, err := assemble.Prepare(ctx, store, o.Source)
	if err != nil {
		return err
	}
	x, err := bundle.Export(ctx, bundle.Options{Recipe: r, Lock: l, Store: store, ModuleDir: module, Derived: o.derived, Offline: o.Offline, Progress: o.Progress}, o.output)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Stdout, "%s: recipe %s, lock %.12s, %d files of %s; compiled with %s\n", o.output, x.Recipe, x.Lock, len(x.Members), megabytes(x.Size()), x.Go)
	return err
}

func importCommand(e *Env) *cobra.Command {
	var output, cache string
	cmd := &cobra.Command{
		Use:   "import BUNDLE [-o DIR]",
		Short: "Unpack what labimage lock export wrote",
		Long: `Import checks every byte of BUNDLE, puts the packages into the store, and makes DIR with the recipe, its lock and the
sources, ready for:

  labimage build DIR/NAME.yaml --source DIR/source --offline -o IMAGE

DIR appears complete or not at all; it must not exist. Packages that were whole stay in the store when the rest is not.`,
		Example: `  labimage lock import guest.bundle
  labimage lock import mine.bundle -o /srv/mine --cache /srv/store`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return importBundle(cmd.Context(), e, args[0], output, cache)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`directory` to make (default: BUNDLE without its ending)")
	cmd.Flags().StringVar(&cache, "cache", "", "`directory` of the store of downloads")
	return cmd
}

func importBundle(ctx context.Context, e *Env, path, dir, cache string) error {
	if dir == "" {
		var ok bool
		if dir, ok = strings.CutSuffix(path, ".bundle"); !ok {
			return usageError{fmt.Errorf("%s does not end in .bundle: name a folder with -o", path)}
		}
	}
	store, err := fetch.Open(cache)
	if err != nil {
		return err
	}
	x, err := bundle.Import(ctx, path, dir, store, fetch.NewProgress(e.Stderr))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Stdout, "%s: recipe %s, lock %.12s, %d files of %s; it was compiled with %s\nlabimage build %s/%s.yaml --source %s/source --offline -o IMAGE\n",
		dir, x.Recipe, x.Lock, len(x.Members), megabytes(x.Size()), x.Go, dir, x.Recipe, dir)
	return err
}
