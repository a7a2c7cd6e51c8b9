package lab

import (
	"context"
	"errors"
	"fmt"
)

// A stack undoes what was made, last first, and goes on when one step fails.
type stack []step

type step struct {
	what string
	undo func(context.Context) error
}

func (s *stack) push(what string, undo func(context.Context) error) {
	*s = append(*s, step{what, undo})
}

// run empties the stack and joins the errors of its steps.
func (s *stack) run(ctx context.Context) error {
	var errs []error
	for len(*s) > 0 {
		last := (*s)[len(*s)-1]
		*s = (*s)[:len(*s)-1]
		if err := last.undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", last.what, err))
		}
	}
	return errors.Join(errs...)
}
