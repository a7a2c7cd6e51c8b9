// L2recv receives frames from the descriptor that l2open left, until none came for 2 seconds.
//
//	l2open -r|-t interface l2recv [option...]
//
// Its manual is what l2recv --help prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/l2"
	"picolab/guestagent/load/pktgen"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := l2.RecvMain(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "l2recv:", err)
	if errors.Is(err, l2.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
