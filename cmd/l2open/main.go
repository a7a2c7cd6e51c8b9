// L2open opens a raw packet socket or a tap device and becomes a command that uses it.
//
//	l2open -r|-t interface command [argument...]
//
// Its manual is what l2open --help prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/guestagent/load/l2"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := l2.OpenMain(ctx, os.Stdout, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "l2open:", err)
	if errors.Is(err, l2.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
