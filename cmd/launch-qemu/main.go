// Launch-qemu starts a virtual machine and shows the QEMU command that does it: see `launch-qemu --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"picolab/hostctl/launch"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := launch.QEMU(ctx, launch.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "launch-qemu:", err)
	if errors.Is(err, launch.ErrUsage) {
		os.Exit(2)
	}
	os.Exit(1)
}
