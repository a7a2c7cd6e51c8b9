package transfer

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pacer keeps a mean rate.
type pacer struct {
	rate  int64 // bytes per second; 0 = no limit
	start time.Time
	sent  int64
}

func newPacer(rate int64) *pacer { return &pacer{rate: rate, start: time.Now()} }

// wait returns when n more bytes may go, or ctx has ended.
func (p *pacer) wait(ctx context.Context, n int) {
	if p.rate <= 0 {
		return
	}
	due := p.start.Add(time.Duration(float64(p.sent) / float64(p.rate) * float64(time.Second)))
	p.sent += int64(n)
	if d := time.Until(due); d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
}

// bindTo binds a socket to a link before it connects; nil for "".
func bindTo(link string) func(context.Context, string, string, syscall.RawConn) error {
	if link == "" {
		return nil
	}
	return func(_ context.Context, _, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), link) })
		if cerr != nil {
			return cerr
		}
		if err != nil {
			return fmt.Errorf("bind to %s: %w", link, err)
		}
		return nil
	}
}
