package recipes

import "errors"

// Parse reads one recipe without what it extends. Errors carry file:line:column, an excerpt and a remedy.
func Parse(file string, data []byte) (*Recipe, error) { return nil, errors.New("unfinished") }

func open(s source, seen []string) (*Recipe, error) { return nil, errors.New("unfinished") }

// Validate checks a recipe after extends has been resolved.
func (r *Recipe) Validate() error { return errors.New("unfinished") }
