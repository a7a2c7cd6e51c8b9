package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"picolab/images/assemble"
	"picolab/images/manifest"
	"picolab/initramfs/bb"
	"picolab/recipes"
	"picolab/recipes/fetch"
)

// buildOptions are the flags of build.
type buildOptions struct {
	assemble.Source
	output, cache, source string
	json                  bool
	derived, umask        string // for verify
}

func buildCommand(e *Env) *cobra.Command {
	o := new(buildOptions)
	cmd := &cobra.Command{
		Use:   "build RECIPE -o DIR",
		Short: "Build the image of a recipe",
		Long: `Build makes the image of RECIPE, an embedded name (see labimage recipes) or the path of a YAML file, in DIR.

It uses only packages that the lock names, downloaded once into a store (--cache, else $PICOLAB_CACHE, else picolab in
the user's cache directory), and this module's own sources (--source, else $PICOLAB_SOURCE, else the tree that the
current directory is in), compiled by the go command in PATH. DIR changes in one step when everything is ready, and not
at all when nothing changed. The mirror is --mirror, else $PICOLAB_MIRROR, else the recipe's, else that of this
machine's apt.

Exit codes: 0 built or up to date, 1 failed, 2 wrong usage, 3 the mirror no longer has a locked package, 4 the image is
larger than the recipe's limits, 130 interrupted.`,
		Example: `  labimage build guest -o build/images/guest
  labimage build host -o build/images/host --jobs 8
  labimage build ./mine.yaml -o /srv/images/mine --lock ./mine.lock --offline`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRecipes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Recipe = args[0]
			return o.run(cmd.Context(), e)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "`directory` of the image (required)")
	f.StringVar(&o.Lock, "lock", "", "lock `file` (default: the recipe's)")
	f.StringVar(&o.Mirror, "mirror", "", "`URL` of the Debian archive, what apt has as URIs")
	f.StringVar(&o.cache, "cache", "", "`directory` of the store of downloads")
	f.StringVar(&o.source, "source", "", "picolab's source `tree`")
	f.BoolVar(&o.Offline, "offline", false, "do not use the network")
	f.IntVar(&o.Jobs, "jobs", 0, "`number` of downloads at a time (default 4)")
	f.BoolVar(&o.RefreshStale, "refresh-stale", false, "if the mirror dropped a locked package, build from a renewed copy of the lock kept beside DIR")
	f.StringVar(&o.Keyring, "keyring", "", "OpenPGP keyring `file` for --refresh-stale (default: Debian's)")
	f.BoolVar(&o.json, "json", false, "write the manifest to the standard output")
	f.StringVar(&o.derived, "derived", "", "directory of caches that can be made again")
	f.StringVar(&o.umask, "umask", "", "octal umask of the build")
	hide(cmd, "derived", "umask")
	return cmd
}

func hide(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.Flags().MarkHidden(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
}

func (o *buildOptions) run(ctx context.Context, e *Env) error {
	if o.output == "" {
		return usageError{errors.New("the output directory is missing: -o DIR")}
	}
	if o.Jobs < 0 {
		return usageError{fmt.Errorf("--jobs %d is negative", o.Jobs)}
	}
	if err := o.setUmask(); err != nil {
		return err
	}
	began := time.Now()
	res, err := o.build(ctx, e)
	if err != nil {
		return err
	}
	return o.report(e, res, time.Since(began))
}

func (o *buildOptions) build(ctx context.Context, e *Env) (*assemble.Result, error) {
	module, err := findSource(o.source)
	if err != nil {
		return nil, err
	}
	store, err := fetch.Open(o.cache)
	if err != nil {
		return nil, err
	}
	out, err := filepath.Abs(o.output)
	if err != nil {
		return nil, err
	}
	o.Scratch = filepath.Dir(out)
	if err := os.MkdirAll(o.Scratch, 0o755); err != nil {
		return nil, err
	}
	o.Progress, o.Warn = fetch.NewProgress(e.Stderr), e.say
	b := &imageBuilder{buildOptions: o, env: e, store: store, module: module}
	return b.image(ctx, o.Source, out)
}

// imageBuilder builds an image after those that it carries.
type imageBuilder struct {
	*buildOptions
	env    *Env
	store  *fetch.Store
	module string
}

func (b *imageBuilder) image(ctx context.Context, s assemble.Source, out string) (*assemble.Result, error) {
	r, l, err := assemble.Prepare(ctx, b.store, s)
	if err != nil {
		return nil, err
	}
	carried, err := b.carried(ctx, s, r)
	if err != nil {
		return nil, err
	}
	return assemble.Image(ctx, assemble.Options{
		Recipe: r, Lock: l, Store: b.store, Output: out, Carried: carried, ModuleDir: b.module, Derived: b.derived, Offline: b.Offline,
		Progress: func(s string) { b.env.say("%s: %s", r.Name, s) },
	})
}

// carried builds the images that r carries, each of its own recipe and lock, in the store's cache.
func (b *imageBuilder) carried(ctx context.Context, s assemble.Source, r *recipes.Recipe) ([]*manifest.Manifest, error) {
	if len(r.Images) == 0 {
		return nil, nil
	}
	dir := b.derived
	if dir == "" {
		var err error
		if dir, err = b.store.Dir("derived"); err != nil {
			return nil, err
		}
	}
	var out []*manifest.Manifest
	for _, name := range r.Carried() {
		s.Recipe, s.Lock = name, ""
		if of, err := recipes.Open(name); err == nil && of.Kind != manifest.KindGuest {
			return nil, fmt.Errorf("image %s, which %s carries, is of a %s: only guests can be carried", name, r.Name, of.Kind)
		}
		res, err := b.image(ctx, s, filepath.Join(dir, "images", r.Name, filepath.Base(strings.TrimSuffix(name, ".yaml"))))
		if err != nil {
			return nil, fmt.Errorf("image %s, which %s carries: %w", name, r.Name, err)
		}
		out = append(out, res.Manifest)
	}
	return out, nil
}

// findSource returns the root of picolab's source tree: the flag's, the environment's, or the current directory's.
func findSource(flag string) (string, error) {
	dir := flag
	if dir == "" {
		dir = os.Getenv("PICOLAB_SOURCE")
	}
	if dir == "" {
		dir = "."
	}
	return bb.FindModule(dir)
}

func (o *buildOptions) setUmask() error {
	if o.umask == "" {
		return nil
	}
	mask, err := strconv.ParseUint(o.umask, 8, 9)
	if err != nil {
		return usageError{fmt.Errorf("--umask %q is not octal", o.umask)}
	}
	unix.Umask(int(mask))
	return nil
}

func (o *buildOptions) report(e *Env, res *assemble.Result, took time.Duration) error {
	m := res.Manifest
	if o.json {
		_, err := e.Stdout.Write(m.Encode())
		return err
	}
	state := "built"
	if res.Fresh {
		state = "up to date"
	}
	_, err := fmt.Fprintf(e.Stdout, "%s %s: %s in %.1f s, %s\n", m.Name, m.ID[:12], state, took.Seconds(), sizes(m))
	return err
}

// sizes sums an image up in words.
func sizes(m *manifest.Manifest) string {
	s := fmt.Sprintf("boots from %.1f MB", float64(m.BootSize())/1e6)
	if m.RootFS != nil {
		s += fmt.Sprintf(", root filesystem of %d entries", m.RootFS.Entries)
	}
	return s
}
