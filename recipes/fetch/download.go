package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A download brings one item into the store.
type download struct {
	store    *Store
	client   *http.Client
	item     Item
	progress *Progress
}

func (d *download) run(ctx context.Context) error {
	part, err := lockPart(ctx, d.store.part(d.item.SHA256))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", d.item.Name, err)
	}
	defer part.Close() // which also unlocks
	if d.store.Has(d.item.SHA256, d.item.Size) {
		d.progress.set(d.item.SHA256, d.item.Size)
		return d.discard(part) // another process was faster
	}
	err = retry(ctx, d.progress, func() error { return d.try(ctx, part) })
	var gone *GoneError
	if errors.As(err, &gone) {
		return errors.Join(err, d.discard(part))
	}
	return err
}

func (d *download) discard(part *os.File) error { return os.Remove(part.Name()) }

// try reads what the part still lacks and, when all is there and right, moves it to its final name.
func (d *download) try(ctx context.Context, part *os.File) error {
	sum := sha256.New()
	have, err := d.resume(part, sum)
	if err != nil {
		return err
	}
	resumed := have
	if have < d.item.Size || d.item.Size == 0 {
		if err := d.receive(ctx, part, sum, have); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.item.SHA256 {
		if err := part.Truncate(0); err != nil {
			return fmt.Errorf("truncate %s: %w", part.Name(), err)
		}
		d.progress.set(d.item.SHA256, 0)
		mismatch := fmt.Errorf("fetch %s: SHA-256 is %s, expected %s: the mirror's %s was changed or damaged", d.item.Name, got, d.item.SHA256, d.item.URL)
		if resumed > 0 { // the beginning may be at fault, not the mirror
			return &trouble{mismatch}
		}
		return mismatch
	}
	return d.store.keep(part, d.item.SHA256)
}

// resume hashes what an earlier try left, and puts the file offset behind it. What is too long has a wrong hash.
func (d *download) resume(part *os.File, sum hash.Hash) (int64, error) {
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("seek %s: %w", part.Name(), err)
	}
	n, err := io.Copy(sum, io.LimitReader(part, d.item.Size+1))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", part.Name(), err)
	}
	d.progress.set(d.item.SHA256, n)
	return n, nil
}

// restart forgets what was received.
func (d *download) restart(part *os.File, sum hash.Hash) error {
	sum.Reset()
	d.progress.set(d.item.SHA256, 0)
	if err := part.Truncate(0); err != nil {
		return fmt.Errorf("truncate %s: %w", part.Name(), err)
	}
	_, err := part.Seek(0, io.SeekStart)
	return err
}

// receive appends the answer's body to the part; have is how much of the file is there already.
func (d *download) receive(ctx context.Context, part *os.File, sum hash.Hash, have int64) error {
	ctx, idle := withIdleTimeout(ctx, idleTimeout)
	defer idle.stop()
	resp, err := request(ctx, d.client, d.item.Name, d.item.URL, have)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if have > 0 && !continues(resp, have) {
		if err := d.restart(part, sum); err != nil {
			return err
		}
		if have = 0; resp.StatusCode != http.StatusOK {
			return &trouble{fmt.Errorf("fetch %s: %s cannot resume", d.item.Name, d.item.URL)}
		}
	}
	if n := resp.ContentLength; n >= 0 && have+n != d.item.Size {
		return fmt.Errorf("fetch %s: %s has %d bytes, expected %d", d.item.Name, d.item.URL, have+n, d.item.Size)
	}
	out := &partWriter{part: part, sum: sum, progress: d.progress, key: d.item.SHA256}
	n, err := io.Copy(out, io.LimitReader(idle.reader(resp.Body), d.item.Size-have+1))
	return d.received(part, have+n, out.err, idle.cause(err))
}

// continues tells whether the answer starts where we want it: a server may send all, or something else (RFC 9110, 14.2).
func continues(resp *http.Response, have int64) bool {
	return resp.StatusCode == http.StatusPartialContent &&
		strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have))
}

// received judges the end of a body.
func (d *download) received(part *os.File, have int64, writeErr, readErr error) error {
	switch {
	case writeErr != nil:
		return fmt.Errorf("store %s: %w", d.item.Name, writeErr) // os.PathError, names the file
	case have > d.item.Size:
		return errors.Join(fmt.Errorf("fetch %s: %s has more than the expected %d bytes", d.item.Name, d.item.URL, d.item.Size), part.Truncate(0))
	case readErr != nil:
		return &trouble{fmt.Errorf("fetch %s: %w", d.item.Name, readErr)}
	case have < d.item.Size:
		return &trouble{fmt.Errorf("fetch %s: %s ended after %d of %d bytes", d.item.Name, d.item.URL, have, d.item.Size)}
	}
	return nil
}

// A partWriter writes and hashes, and keeps write errors apart from the network's.
type partWriter struct {
	part     *os.File
	sum      hash.Hash
	progress *Progress
	key      string
	err      error
}

func (w *partWriter) Write(p []byte) (int, error) {
	n, err := w.part.Write(p)
	w.sum.Write(p[:n])
	w.progress.grow(w.key, int64(n))
	w.err = err
	return n, err
}

// lockPart opens the part and takes its lock (flock(2)), waiting for another process that loads the same file. The loop
// is for the file having been renamed or removed by the one that had the lock.
func lockPart(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(f, path) {
			return f, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func sameFile(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// keep syncs a verified part and gives it its final name. The folder is synced too, so that after a crash the name
// stands for the whole file or does not exist.
func (s *Store) keep(part *os.File, sha256 string) error {
	if err := part.Chmod(0o444); err != nil {
		return fmt.Errorf("chmod %s: %w", part.Name(), err)
	}
	if err := part.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", part.Name(), err)
	}
	final := s.path(sha256)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), final); err != nil {
		return err
	}
	return syncDir(filepath.Dir(final))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
