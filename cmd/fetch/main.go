// Fetch downloads a file over HTTP by several connections: see `fetch --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/fetch"
	"picolab/guestagent/load/getopt"
)

func main() {
	getopt.Main("fetch", func(ctx context.Context, args []string) error { return fetch.Command(ctx, os.Stdout, args) })
}
