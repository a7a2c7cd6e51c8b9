// Package launch has the commands of the appliance that set up and start single virtual machines by hand: prep-taps,
// unprep-taps and launch-qemu. What they do is what the netmap documents' scripts of these names do.
package launch

import (
	"io"
)

// Stdio is what a command reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}
