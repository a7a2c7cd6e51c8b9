package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"picolab/hostctl/catalogue"
	"picolab/hostctl/report"
)

// Reopen takes up the folder of a run that did not come to its end, with what it has.
func Reopen(dir string) (*Folder, *report.Outcome, error) {
	f, err := hold(dir)
	if errors.Is(err, fs.ErrNotExist) { // there was no run
		err = fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if err != nil {
		return nil, nil, err
	}
	out, err := f.reopen()
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("reopen run folder %s: %w: %w", dir, ErrFolder, err)
	}
	return f, out, nil
}

func (f *Folder) reopen() (*report.Outcome, error) {
	out, err := Load(f.dir)
	if err != nil {
		return nil, err
	}
	return out, repair(resultsOf(f.dir))
}

// remaining is the plan of what a run has no result of yet. A catalogue or profile that is another by now would make one run
// of two things.
func (o Options) remaining(before *report.Outcome) (catalogue.Plan, error) {
	set, err := o.set()
	if err != nil {
		return catalogue.Plan{}, err
	}
	if got := set.Digest(); got != before.Run.Catalogue {
		return catalogue.Plan{}, fmt.Errorf("%w: it was run from another catalogue (%.12s, this is %.12s): start a new run", ErrFolder, before.Run.Catalogue, got)
	}
	o.Selectors, o.Axes, o.Profile = before.Run.Planned, nil, catalogue.Profile(before.Run.Profile)
	plan, err := o.Plan()
	if err != nil {
		return catalogue.Plan{}, err
	}
	missing := before.Missing()
	return plan.Only(func(id string) bool { return slices.Contains(missing, id) }), nil
}
