// L2send sends UDP frames to the descriptor that l2open left.
//
//	l2open -r|-t interface l2send [option...]
//
// Its manual is what l2send --help prints.
package main

import (
	"context"
	"os"

	"picolab/guestagent/load/getopt"
	"picolab/guestagent/load/l2"
	"picolab/guestagent/load/pktgen"
)

func main() {
	getopt.Main("l2send", func(ctx context.Context, args []string) error {
		return l2.SendMain(ctx, pktgen.Stdio{Out: os.Stdout, Err: os.Stderr}, args)
	})
}
