// L2recv receives frames from the descriptor that l2open left, until none came for 2 seconds.
//
//	l2open -r|-t interface l2recv [option...]
//
// Its manual is what l2recv --help prints.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/l2"
	"picolab/guestagent/load/pktgen"
)

func main() {
	getopt.Main("l2recv", func(ctx context.Context, args []string) error {
		return l2.RecvMain(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, args)
	})
}
