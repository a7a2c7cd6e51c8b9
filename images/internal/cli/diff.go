package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"picolab/images/compare"
	"picolab/images/inspect"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// errDiffer is the result of a comparison, not a failure.
var errDiffer = errors.New("they differ")

// diffError is trouble on the way to a result: exit code 2, as diff(1) has it.
type diffError struct{ error }

func (e diffError) Unwrap() error { return e.error }

// diffOptions are the flags of diff.
type diffOptions struct{ json bool }

func diffCommand(e *Env) *cobra.Command {
	o := new(diffOptions)
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show in which ways two images, recipes or locks differ",
		Long: `Diff compares two images (folders or disks), two recipes (embedded names or .yaml files; with their locks, where both
have one) or two locks (.lock files): command line, packages, modules, files, sizes. A line begins with + for what only
B has, - for what only A has, ^ for a newer and v for an older version, ~ for anything else.

Exit codes: 0 no differences, 1 differences, 2 trouble.`,
		Example: `  labimage diff build/images/guest /srv/images/mine
  labimage diff guest ./mine.yaml
  labimage diff before.lock mine.lock --json`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeAny(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), e, args[0], args[1])
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "write a JSON object")
	return cmd
}

func (o *diffOptions) run(ctx context.Context, e *Env, a, b string) error {
	changes, err := differences(ctx, a, b)
	if err != nil {
		return diffError{err}
	}
	if o.json {
		err = writeJSON(e.Stdout, struct {
			A       string           `json:"a"`
			B       string           `json:"b"`
			Equal   bool             `json:"equal"`
			Changes []compare.Change `json:"changes"`
		}{a, b, len(changes) == 0, append([]compare.Change{}, changes...)})
	} else {
		for _, c := range changes {
			fmt.Fprintln(e.Stdout, c)
		}
	}
	if err == nil && len(changes) > 0 {
		return errDiffer
	}
	return err
}

// differences compares two things of one sort.
func differences(ctx context.Context, a, b string) ([]compare.Change, error) {
	sa, sb := sortOf(a), sortOf(b)
	if sa != sb {
		return nil, fmt.Errorf("%s is %s, %s is %s: only two of one sort can be compared", a, sa, b, sb)
	}
	switch sa {
	case "a lock":
		return diffLocks(a, b)
	case "a recipe":
		return diffRecipes(a, b)
	}
	ra, err := openImage(ctx, a)
	if err != nil {
		return nil, err
	}
	rb, err := openImage(ctx, b)
	if err != nil {
		return nil, err
	}
	return compare.Images(ra, rb)
}

// sortOf says what an argument names. A folder or file of that name comes before an embedded recipe.
func sortOf(name string) string {
	switch ext := filepath.Ext(name); {
	case ext == ".lock":
		return "a lock"
	case ext == ".yaml" || ext == ".yml":
		return "a recipe"
	}
	if _, err := os.Stat(name); err != nil && !strings.ContainsRune(name, filepath.Separator) {
		return "a recipe"
	}
	return "an image"
}

func openImage(ctx context.Context, name string) (*inspect.Report, error) {
	r, err := inspect.Open(ctx, name)
	if err == nil && r.Image == nil {
		err = fmt.Errorf("%s has no picolab image", name)
	}
	return r, err
}

func diffLocks(a, b string) ([]compare.Change, error) {
	la, err := readLock(a)
	if err != nil {
		return nil, err
	}
	lb, err := readLock(b)
	if err != nil {
		return nil, err
	}
	return compare.Locks(la, lb), nil
}

func readLock(name string) (*lock.Lock, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	l, err := lock.Read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

func diffRecipes(a, b string) ([]compare.Change, error) {
	ra, err := recipes.Open(a)
	if err != nil {
		return nil, err
	}
	rb, err := recipes.Open(b)
	if err != nil {
		return nil, err
	}
	changes := compare.Recipes(ra, rb)
	la, errA := lock.Open(a, ra)
	lb, errB := lock.Open(b, rb)
	if errA != nil || errB != nil {
		return changes, nil // recipes can be compared without
	}
	return append(changes, compare.Locks(la, lb)...), nil
}
