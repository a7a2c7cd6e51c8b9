// Capture records the frames of a link: see `capture --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/capture"
	"picolab/guestagent/load/getopt"
)

func main() {
	getopt.Main("capture", func(ctx context.Context, args []string) error {
		return capture.Command(ctx, os.Stdout, os.Stderr, args)
	})
}
