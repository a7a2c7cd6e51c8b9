// Vale-ctl lists, attaches and detaches the ports of switches that hostctl switch works.
//
//	vale-ctl [-s SOCKET] [-b] [-g [valeS:PORT]]
//	vale-ctl [-s SOCKET] -h valeS:IF | -d valeS:PORT
//
// The options are those of netmap's vale-ctl:
//
//	-g, -l  list all ports, or one
//	-h, -a  attach: IF is a tap, or KIND:ARGUMENT as in hostctl switch --port
//	-d      detach
//	-b      brief: only names
//	-s      control socket (/run/vale.sock)
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"picolab/hostctl/vale/ctl"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vale-ctl:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer, args []string) error {
	return ctl.Main(ctx, stdout, args)
}
