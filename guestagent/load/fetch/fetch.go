package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Options are a download.
type Options struct {
	URL         string        // http://address:port/path
	File        string        // where it is stored
	Connections int           // at a time; 0 = 1
	Range       int64         // bytes asked for at a time; 0 = 256 KiB
	Idle        time.Duration // without data that ends a connection; 0 = 5 s
	Timeout     time.Duration // for all; 0 = 10 min
}

// Result is what came of a download.
type Result struct {
	Bytes   int64   `json:"bytes"`
	SHA256  string  `json:"sha256"` // of the file, hex
	Retries int     `json:"retries"`
	Seconds float64 `json:"seconds"`
}

// retryPause is the time between two tries of a connection. An address that is gone refuses at once.
const retryPause = 100 * time.Millisecond

func (o Options) withDefaults() Options {
	if o.Connections < 1 {
		o.Connections = 1
	}
	if o.Range < 1 {
		o.Range = 256 << 10
	}
	if o.Idle <= 0 {
		o.Idle = 5 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Minute
	}
	return o
}

// Fetch downloads a file. What can be tried again is, until the time is over: the error is what the last try said then.
func Fetch(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	at, err := parse(o.URL)
	if err != nil {
		return Result{}, err
	}
	f, err := os.Create(o.File)
	if err != nil {
		return Result{}, err
	}
	defer f.Close()
	d := &download{o: o, at: at, file: f}
	err = d.run(ctx)
	res := Result{Retries: d.retries, Seconds: time.Since(start).Seconds()}
	if err != nil {
		return res, fmt.Errorf("fetch %s: %w", o.URL, err)
	}
	res.Bytes, res.SHA256, err = sum(f)
	return res, err
}

func sum(f *os.File) (int64, string, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, "", err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// download is a running one.
type download struct {
	o    Options
	at   target
	file io.WriterAt

	mu      sync.Mutex
	next    int64 // offset of the first range that nobody has
	size    int64 // of the file; unknown until the first answer
	retries int
	fatal   error // what no second try mends
}

// run has the first connection find out the size, then all of them take ranges.
func (d *download) run(ctx context.Context) error {
	first := &connection{d: d}
	defer first.close()
	d.size = 1
	if err := d.span(ctx, first, 0); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	for range d.o.Connections {
		workers.Go(func() {
			if err := d.work(ctx); err != nil {
				cancel()
			}
		})
	}
	workers.Wait()
	return d.outcome()
}

func (d *download) outcome() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fatal
}

// work takes ranges until there are none.
func (d *download) work(ctx context.Context) error {
	c := &connection{d: d}
	defer c.close()
	for {
		from, ok := d.take()
		if !ok {
			return nil
		}
		if err := d.span(ctx, c, from); err != nil {
			return err
		}
	}
}

func (d *download) take() (from int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next >= d.size {
		return 0, false
	}
	from = d.next
	d.next += d.o.Range
	return from, true
}

// span gets one range, trying again until ctx ends; it goes on behind what has come.
func (d *download) span(ctx context.Context, c *connection, from int64) error {
	to := from + d.o.Range
	var last error // that of the try before says more than that the time is over
	for {
		n, err := c.get(ctx, from, to)
		from += n
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errAnswer):
			return d.fail(err)
		case ctx.Err() != nil:
			return d.fail(fmt.Errorf("%w (last: %v)", context.Cause(ctx), cmp.Or(last, err)))
		}
		last = err
		d.again()
		pause(ctx, retryPause)
	}
}

func (d *download) again() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retries++
}

// fail keeps the first error.
func (d *download) fail(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fatal == nil {
		d.fatal = err
	}
	return err
}

// sized is told by every answer how long the file is: it must not change.
func (d *download) sized(size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == 0 {
		d.size, d.next = size, d.o.Range
	}
	if d.size != size {
		return fmt.Errorf("%w: %d bytes in all, and %d before", errAnswer, size, d.size)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
