// Fetch downloads a file over HTTP by several connections: see `fetch --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/fetch"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := fetch.Command(ctx, os.Stdout, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "fetch:", err)
	if errors.Is(err, fetch.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
