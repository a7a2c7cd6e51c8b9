// Package images is the labimage command as a function: it builds images from recipes, and checks them.
package images

import (
	"context"

	"picolab/images/internal/cli"
)

// Env is what a run of the command gets from the outside.
type Env = cli.Env

// Main runs labimage with env.Args (without the program's name) and returns its exit code: 0 done, 1 failed, 2 wrong
// usage, 3 the mirror no longer has a locked package, 4 an image is too large, 130 interrupted. Diff and lint return 1
// when they found something; trouble of diff is 2.
func Main(ctx context.Context, env Env) int { return cli.Main(ctx, env) }
