// Unprep-taps takes away what prep-taps made: see `unprep-taps --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/hostctl/launch"
)

func main() {
	getopt.Main("unprep-taps", func(ctx context.Context, args []string) error {
		return launch.UnprepTaps(ctx, launch.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, args)
	})
}
