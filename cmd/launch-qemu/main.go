// Launch-qemu starts a virtual machine and shows the QEMU command that does it: see `launch-qemu --help`.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/hostctl/launch"
)

func main() {
	getopt.Main("launch-qemu", func(ctx context.Context, args []string) error {
		return launch.QEMU(ctx, launch.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, args)
	})
}
