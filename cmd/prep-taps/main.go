// Prep-taps makes the interfaces tap01, tap02 and br0 for machines that launch-qemu starts: see `prep-taps --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/hostctl/launch"
)

func main() {
	getopt.Main("prep-taps", func(ctx context.Context, args []string) error {
		return launch.PrepTaps(ctx, launch.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, args)
	})
}
