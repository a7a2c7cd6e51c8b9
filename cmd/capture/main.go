// Capture records the frames of a link: see `capture --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/capture"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := capture.Command(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "capture:", err)
	if errors.Is(err, capture.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
