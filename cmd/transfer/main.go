// Transfer moves a file over TCP or UDP with its SHA-256: see `transfer --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/transfer"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := transfer.Command(ctx, transfer.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "transfer:", err)
	if errors.Is(err, transfer.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
