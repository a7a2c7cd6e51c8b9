package catalogue

import (
	"bufio"
	"errors"
	"io"
	"os"
	"slices"

	"picolab/guestagent/load/pcapng"
)

// Frames returns the frames of a capture in the instance's folder, as its
// packets have them.  A file that cannot be read is ours.
func (t *T) Frames(file string) []pcapng.Packet {
	f, err := os.Open(t.Path(file))
	if err != nil {
		t.Errorf("read capture: %v", err)
	}
	defer f.Close()
	var all []pcapng.Packet
	for r := pcapng.NewReader(bufio.NewReader(f)); ; {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Errorf("read capture %s: %v", file, err)
		}
		p.Data = slices.Clone(p.Data)
		all = append(all, p)
	}
}
