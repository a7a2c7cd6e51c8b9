package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"picolab/recipes"
	"picolab/recipes/lock"
)

// template is a new recipe; @NAME@ and @FROM@ are replaced.
//
//go:embed new.yaml
var template string

// newOptions are the flags of new.
type newOptions struct{ from, output string }

func newCommand(e *Env) *cobra.Command {
	o := new(newOptions)
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a recipe to start from",
		Long: `New writes NAME.yaml, a recipe that extends an embedded one and explains in comments what else a recipe can say, and
NAME.lock beside it. It builds as it is. Files that are there are not replaced.`,
		Example: `  labimage new mine
  labimage new appliance --from host -o /srv/recipes
  labimage build mine.yaml -o build/images/mine`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(e, args[0]) },
	}
	cmd.Flags().StringVar(&o.from, "from", "guest", "embedded `recipe` to extend")
	cmd.Flags().StringVarP(&o.output, "output", "o", ".", "`directory` for the files")
	if err := cmd.RegisterFlagCompletionFunc("from", completeRecipes(2)); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

func (o *newOptions) run(e *Env, name string) error {
	name = strings.TrimSuffix(name, ".yaml")
	text := strings.NewReplacer("@NAME@", name, "@FROM@", o.from).Replace(template)
	r, err := recipes.Parse(name+".yaml", []byte(text))
	if err == nil {
		err = r.CheckName()
	}
	if err != nil {
		return usageError{err}
	}
	l, err := o.lock(name)
	if err != nil {
		return err
	}
	base := filepath.Join(o.output, name)
	if err := createBoth(base+".yaml", []byte(text), base+".lock", l.Encode()); err != nil {
		return err
	}
	e.say("wrote %s.yaml and %s.lock; edit the first, then: labimage build %s.yaml -o build/images/%s", base, base, base, name)
	return nil
}

// lock is that of the recipe to extend: as long as packages and suites are the same, it fits.
func (o *newOptions) lock(name string) (*lock.Lock, error) {
	if recipes.IsFile(o.from) {
		return nil, usageError{fmt.Errorf("--from %s: name an embedded recipe (%s); to extend a file, write its path after extends", o.from, strings.Join(recipes.Names(), ", "))}
	}
	from, err := recipes.Open(o.from)
	if err != nil {
		return nil, err
	}
	l, err := lock.Open(o.from, from)
	if err != nil {
		return nil, err
	}
	l.Recipe = name
	return l, nil
}

// createBoth writes two files that must not be there, or none.
func createBoth(a string, dataA []byte, b string, dataB []byte) error {
	if err := createNew(a, dataA); err != nil {
		return err
	}
	if err := createNew(b, dataB); err != nil {
		return errors.Join(err, os.Remove(a))
	}
	return nil
}

func createNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; take another name, or remove it", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
