// Command hostctl boots labs of virtual machines, works in them, and runs the test catalogue. See `hostctl --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"picolab/hostctl"
)

func main() {
	hostctl.Stage()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := hostctl.Main(ctx, hostctl.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Args: os.Args[1:]})
	stop()
	os.Exit(code)
}
