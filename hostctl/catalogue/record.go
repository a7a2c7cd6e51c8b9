package catalogue

import (
	"context"
	"errors"
	"os"

	"picolab/hostctl/lab"
)

// Limits of the captures: enough of each frame for every header, and not more
// of a flood than a person would look at.
const (
	snaplen    = 192
	maxCapture = 32 << 20 // bytes
)

// record starts a capture of each link of the lab.
func (tr *trial) record(ctx context.Context) {
	for _, l := range tr.s.top.Links {
		if err := tr.recordLink(ctx, l.Name); err != nil {
			tr.t.Logf("capture of link %s: %v", l.Name, err)
		}
	}
}

func (tr *trial) recordLink(ctx context.Context, link string) error {
	f, err := os.Create(tr.t.File(link + ".pcapng"))
	if err != nil {
		return err
	}
	stop, err := tr.s.lab.Record(ctx, link, f, lab.RecordOptions{Snaplen: snaplen, Bytes: maxCapture})
	if err != nil {
		return errors.Join(err, f.Close())
	}
	tr.stops = append(tr.stops, func(ctx context.Context) {
		stats, err := stop(ctx)
		if err = errors.Join(err, f.Close()); err != nil {
			tr.t.Logf("capture of link %s: %v", link, err)
		}
		if stats.Dropped > 0 {
			tr.t.Logf("capture of link %s lacks %d of %d frames", link, stats.Dropped, stats.Dropped+stats.Packets)
		}
	})
	return nil
}
