// Package hostctl is the hostctl command as a function.
package hostctl

import (
	"context"

	"picolab/hostctl/internal/cli"
	"picolab/hostctl/internal/sandbox"
)

// Env is what a command sees of the world.
type Env = cli.Env

// Main runs hostctl with env.Args (without the program's name) and returns its exit code; see cli.Main.
func Main(ctx context.Context, env Env) int { return cli.Main(ctx, env) }

// Stage must be called before anything else in main or TestMain. A process that was started as part of a sandbox does its
// work there and never returns.
func Stage() { sandbox.Main() }
