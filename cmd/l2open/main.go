// L2open opens a raw packet socket or a tap device and becomes a command that uses it.
//
//	l2open -r|-t interface command [argument...]
//
// Its manual is what l2open --help prints.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/l2"
)

func main() {
	getopt.Main("l2open", func(ctx context.Context, args []string) error {
		return l2.OpenMain(ctx, os.Stdout, args)
	})
}
