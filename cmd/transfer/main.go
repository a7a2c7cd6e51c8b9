// Transfer moves a file over TCP or UDP with its SHA-256: see `transfer --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/transfer"
)

func main() {
	getopt.Main("transfer", func(ctx context.Context, args []string) error {
		return transfer.Command(ctx, transfer.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, args)
	})
}
