// Labimage builds lab images from recipes and checks them: see labimage --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"picolab/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(images.Main(ctx, images.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Args: os.Args[1:]}))
}
