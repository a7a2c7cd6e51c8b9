package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// lockOptions is one call of the verb.
type lockOptions struct {
	recipe  string
	names   []string // packages to update
	output  string
	mirror  string
	keyring string
	cache   string
	update  bool
	check   bool
	diff    bool
}

func lockCommand(e *Env) *cobra.Command {
	var o lockOptions
	cmd := &cobra.Command{
		Use:   "lock RECIPE [-o FILE] [--update [NAME...]]",
		Short: "Resolve a recipe's packages against a Debian archive",
		Long: `Lock reads the signed indices of the recipe's suites and writes a lock: every package of the recipe's dependency
closure, and its kernel, by SHA-256. Package versions of an existing lock are kept while the archive has them; --update
takes the newest of all packages, or of those named. What changed is printed, a line each: + added, - removed, ^ newer,
v older, ~ other bytes.

RECIPE is an embedded recipe (see: labimage recipes) or a file; the lock goes beside the file, or to ./RECIPE.lock.
The archive is --mirror, $PICOLAB_MIRROR, the recipe's mirror or the first Debian archive among apt's sources.`,
		Example: `  labimage lock ./my-guest.yaml
  labimage lock guest -o guest.lock --update linux-image-amd64
  labimage lock host --diff`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeRecipes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.recipe, o.names = args[0], args[1:]
			return o.run(cmd.Context(), e)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "", "write the lock to this `FILE`")
	flags.BoolVar(&o.update, "update", false, "take the newest version of the named packages, of all if none is named")
	flags.StringVar(&o.mirror, "mirror", "", "`URL` of the Debian archive")
	flags.StringVar(&o.keyring, "keyring", "", "OpenPGP keyring `FILE` that signs the archive (default: Debian's)")
	flags.StringVar(&o.cache, "cache", "", "`directory` of the store of downloads")
	flags.BoolVar(&o.check, "check", false, "only check that the lock is intact and matches the recipe; no network")
	flags.BoolVar(&o.diff, "diff", false, "print what would change and write nothing")
	cmd.AddCommand(exportCommand(e), importCommand(e))
	return cmd
}

func (o lockOptions) run(ctx context.Context, e *Env) error {
	if len(o.names) > 0 && !o.update {
		return usageError{fmt.Errorf("package names (%s) need --update", strings.Join(o.names, " "))}
	}
	if o.check && (o.update || o.diff) {
		return usageError{errors.New("--check goes with neither --update nor --diff")}
	}
	recipe, err := recipes.Open(o.recipe)
	if err != nil {
		return err
	}
	if o.check {
		return o.checkOnly(e, recipe)
	}
	old, err := o.old(e)
	if err != nil {
		return err
	}
	start := time.Now()
	l, err := o.resolve(ctx, e, recipe, old)
	if err != nil {
		return fmt.Errorf("lock %s: %w", o.recipe, err)
	}
	changes := lock.Diff(old, l)
	fmt.Fprint(e.Stdout, changes)
	e.say("resolved %d packages, %.1f MB, in %.1f s", len(l.Packages), float64(l.Size())/1e6, time.Since(start).Seconds())
	if o.diff {
		if changes == "" {
			e.say("nothing would change")
		}
		return nil
	}
	return o.write(e, l)
}

// path is where the lock goes.
func (o lockOptions) path() string {
	if o.output != "" {
		return o.output
	}
	return strings.TrimSuffix(o.recipe, filepath.Ext(o.recipe)) + ".lock"
}

func (o lockOptions) checkOnly(e *Env, recipe *recipes.Recipe) error {
	data, path, err := o.current()
	if err != nil {
		return err
	}
	l, err := lock.Read(bytes.NewReader(data))
	if err == nil {
		err = l.Matches(recipe)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Fprintf(e.Stdout, "%s: matches recipe %s, %d packages, %.1f MB\n", path, recipe.Name, len(l.Packages), float64(l.Size())/1e6)
	return nil
}

// current returns the lock there is: the output file, else what a build would take.
func (o lockOptions) current() (data []byte, path string, err error) {
	data, err = os.ReadFile(o.path())
	if errors.Is(err, fs.ErrNotExist) && (o.output == "" || !o.check) {
		return recipes.LockOf(o.recipe)
	}
	return data, o.path(), err
}

// old returns the lock whose versions are kept, nil if there is none. One that cannot be read is made anew.
func (o lockOptions) old(e *Env) (*lock.Lock, error) {
	data, path, err := o.current()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l, err := lock.Read(bytes.NewReader(data))
	if err != nil {
		e.say("%s: %v; making a new one from nothing", path, err)
		return nil, nil
	}
	return l, nil
}

func (o lockOptions) resolve(ctx context.Context, e *Env, recipe *recipes.Recipe, old *lock.Lock) (*lock.Lock, error) {
	mirror, err := fetch.Mirror(o.mirror, recipe.Mirror)
	if err != nil {
		return nil, err
	}
	store, err := fetch.Open(o.cache)
	if err != nil {
		return nil, err
	}
	e.say("reading the indices of %s", mirror)
	return lock.Resolve(ctx, recipe, lock.Options{
		Mirror: mirror, Keyring: o.keyring, Old: old, Store: store, Progress: fetch.NewProgress(e.Stderr),
		Update: o.names, UpdateAll: o.update && len(o.names) == 0,
	})
}

// write replaces the lock file at once: a reader sees the old lock or the new one.
func (o lockOptions) write(e *Env, l *lock.Lock) error {
	path, data := o.path(), l.Encode()
	if before, err := os.ReadFile(path); err == nil && bytes.Equal(before, data) {
		e.say("%s is up to date", path)
		return nil
	}
	if err := replaceFile(path, data); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	e.say("wrote %s", path)
	return nil
}

func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, bytes.NewReader(data))
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
