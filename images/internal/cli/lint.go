package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"picolab/images/assemble"
	"picolab/images/lint"
	"picolab/initramfs"
	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// errFindings is a result, not a failure; the findings have been written.
var errFindings = errors.New("there are errors")

// lintOptions are the flags of lint.
type lintOptions struct {
	assemble.Source
	cache, derived, lspci string
	json, strict          bool
}

func lintCommand(e *Env) *cobra.Command {
	o := new(lintOptions)
	cmd := &cobra.Command{
		Use:   "lint RECIPE [--lspci FILE]",
		Short: "Look for what is probably wrong with a recipe",
		Long: `Lint reads RECIPE, its lock and the packages of that, and names what will probably go wrong, each with its place in the
recipe's text: modules that the kernel does not have, sizes past the limits, a shim that new machines refuse, suites that
are no longer supported, entries of exclude that nothing needs, files with two owners, modules without a signature.

With --lspci it also looks for the drivers of a machine's network cards: run lspci -n there, and give the output, or -
for the standard input. Packages that are not in the store are downloaded, as by labimage build; with --offline the rules that
need them are left out then.

Exit codes: 0 nothing, or warnings only; 1 errors (with --strict: warnings too), or it failed; 2 wrong usage.`,
		Example: `  labimage lint ./mine.yaml
  ssh pc lspci -n | labimage lint host --lspci -
  labimage lint guest --json --strict`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeRecipes(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Recipe = args[0]
			return o.run(cmd.Context(), e)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Lock, "lock", "", "lock `file` (default: the recipe's)")
	f.StringVar(&o.lspci, "lspci", "", "`file` with the output of lspci -n, - for the standard input")
	f.StringVar(&o.Mirror, "mirror", "", "`URL` of the Debian archive")
	f.StringVar(&o.cache, "cache", "", "`directory` of the store of downloads")
	f.StringVar(&o.derived, "derived", "", "directory of caches that can be made again")
	f.BoolVar(&o.Offline, "offline", false, "do not use the network")
	f.BoolVar(&o.strict, "strict", false, "let warnings fail, too")
	f.BoolVar(&o.json, "json", false, "write a JSON array")
	hide(cmd, "derived")
	return cmd
}

func (o *lintOptions) run(ctx context.Context, e *Env) error {
	cards, err := o.readCards(e)
	if err != nil {
		return err
	}
	findings, err := o.check(ctx, e, cards)
	if err != nil {
		return err
	}
	return o.report(e, findings)
}

func (o *lintOptions) readCards(e *Env) ([]lint.Card, error) {
	if o.lspci == "" {
		return nil, nil
	}
	var in io.Reader = e.Stdin
	if o.lspci != "-" {
		f, err := os.Open(o.lspci)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	cards, err := lint.ReadCards(in)
	if err != nil {
		return nil, fmt.Errorf("--lspci %s: %w", o.lspci, err)
	}
	return cards, nil
}

// check runs the rules. Faults of the recipe's text and of its lock are findings as well: then only those rules run that
// need neither.
func (o *lintOptions) check(ctx context.Context, e *Env, cards []lint.Card) ([]lint.Finding, error) {
	r, err := recipes.Open(o.Recipe)
	var fault *recipes.Error
	if errors.As(err, &fault) {
		return []lint.Finding{finding("recipe", fault)}, nil
	}
	if err != nil {
		return nil, err
	}
	store, err := fetch.Open(o.cache)
	if err != nil {
		return nil, err
	}
	if o.derived == "" {
		if o.derived, err = store.Dir("derived"); err != nil {
			return nil, err
		}
	}
	in := lint.Input{Recipe: r, Cards: cards, Options: initramfs.Options{Store: store, Derived: o.derived}}
	o.Progress, o.Warn = fetch.NewProgress(e.Stderr), e.say
	_, in.Lock, err = assemble.Prepare(ctx, store, o.Source)
	var wrong []lint.Finding
	var offline *assemble.OfflineError
	switch {
	case errors.As(err, &offline):
		e.say("%v; rules that look into packages are left out", err)
	case errors.Is(err, lock.ErrMismatch), errors.Is(err, fs.ErrNotExist):
		wrong = append(wrong, finding("lock", r.Fault("packages", "%v", err)))
	case errors.As(err, &fault):
		wrong = append(wrong, finding("lock", fault))
	case err != nil:
		return nil, err
	}
	found, err := lint.Check(ctx, in)
	return append(wrong, found...), err
}

func finding(rule string, at *recipes.Error) lint.Finding {
	return lint.Finding{File: at.File, Line: at.Line, Column: at.Column, Severity: lint.Error, Rule: rule, Message: at.Message}
}

func (o *lintOptions) report(e *Env, findings []lint.Finding) error {
	if o.json {
		if err := writeJSON(e.Stdout, append([]lint.Finding{}, findings...)); err != nil {
			return err
		}
	}
	bad, warnings := 0, 0
	for _, f := range findings {
		if !o.json {
			fmt.Fprintln(e.Stdout, f)
		}
		if f.Severity == lint.Error {
			bad++
		} else {
			warnings++
		}
	}
	if !o.json {
		e.say("%s: %d errors, %d warnings", o.Recipe, bad, warnings)
	}
	if bad > 0 || o.strict && warnings > 0 {
		return errFindings
	}
	return nil
}
