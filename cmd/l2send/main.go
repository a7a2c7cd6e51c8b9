// L2send sends UDP frames to the descriptor that l2open left.
//
//	l2open -r|-t interface l2send [option...]
//
// Its manual is what l2send --help prints.
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
	err := l2.SendMain(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "l2send:", err)
	if errors.Is(err, l2.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
