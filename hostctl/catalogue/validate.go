package catalogue

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

var (
	idPattern   = regexp.MustCompile(`^[a-z0-9]+\.[a-z0-9]+(-[a-z0-9]+)*$`)
	wordPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`)
)

// validate reports the first thing that is wrong with a case's data.
func (c *Case) validate() error {
	switch {
	case !idPattern.MatchString(c.ID):
		return fmt.Errorf("id %q is not suite.name", c.ID)
	case c.Title == "" || len(c.Steps) == 0 || c.Run == nil:
		return errors.New("no title, steps or Run")
	case c.Seed.Doc == "" || c.Seed.Item == "" || c.Seed.Criterion == "":
		return errors.New("seed names no document, item or criterion")
	case len(c.Where) == 0:
		return errors.New("no place to run")
	}
	for name := range c.Params.Quick {
		if _, ok := c.Params.Full[name]; !ok {
			return fmt.Errorf("parameter %s is in quick and not in full", name)
		}
	}
	return c.validateMatrix()
}

func (c *Case) validateMatrix() error {
	for _, a := range c.Matrix.Axes {
		if err := a.validate(); err != nil {
			return fmt.Errorf("axis %s: %w", a.Name, err)
		}
	}
	for i, ex := range c.Matrix.Exclusions {
		if err := c.validateExclusion(ex); err != nil {
			return fmt.Errorf("exclusion %d: %w", i, err)
		}
	}
	some, _ := split(c.expand(Full, nil))
	for _, in := range some {
		top, err := in.Topology()
		if err == nil {
			err = top.Validate()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a Axis) validate() error {
	if !wordPattern.MatchString(a.Name) || len(a.Values) == 0 {
		return errors.New("no name or no values")
	}
	for _, v := range a.Values {
		if !wordPattern.MatchString(v) {
			return fmt.Errorf("value %q is not a plain word", v)
		}
	}
	for _, v := range slices.Concat(a.Quick, a.Late) {
		if !slices.Contains(a.Values, v) {
			return fmt.Errorf("quick or late value %q is none of its values", v)
		}
	}
	for v := range a.Needs {
		if !slices.Contains(a.Values, v) {
			return fmt.Errorf("needs of %q, which is none of its values", v)
		}
	}
	return nil
}

func (c *Case) validateExclusion(ex Exclusion) error {
	if ex.Reason == "" || len(ex.When) == 0 {
		return errors.New("no reason or no condition")
	}
	for _, m := range ex.When {
		a := c.axis(m.Axis)
		if a == nil {
			return fmt.Errorf("no axis %q", m.Axis)
		}
		for _, v := range m.In {
			if !slices.Contains(a.Values, v) {
				return fmt.Errorf("axis %s has no value %q", m.Axis, v)
			}
		}
	}
	return nil
}

func (c *Case) axis(name string) *Axis {
	for i := range c.Matrix.Axes {
		if c.Matrix.Axes[i].Name == name {
			return &c.Matrix.Axes[i]
		}
	}
	return nil
}
