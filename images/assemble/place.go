package assemble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"picolab/images/manifest"
)

// NotImageError says that the output directory holds something that a build must not replace.
type NotImageError struct{ Dir, Found string }

func (e *NotImageError) Error() string {
	return fmt.Sprintf("%s is not an image: it holds %s; name another directory with -o, or empty this one", e.Dir, e.Found)
}

// place is where an image goes, held by one build at a time.
type place struct {
	dir      string
	lock     *os.File
	progress func(string)
}

// openPlace waits until no other build holds dir, and clears what builds that were killed have left beside it.
func openPlace(ctx context.Context, dir string, progress func(string)) (*place, error) {
	if err := checkPlace(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(beside(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	p := &place{dir, f, progress}
	if err := p.wait(ctx); err != nil {
		f.Close()
		return nil, err
	}
	p.sweep()
	return p, nil
}

func (p *place) close() { p.lock.Close() }

// wait takes the lock, asking again every 50 ms: flock(2) itself could not be interrupted.
func (p *place) wait(ctx context.Context) error {
	for told := false; ; told = true {
		err := unix.Flock(int(p.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		if !told && p.progress != nil {
			p.progress("waiting for another build of " + p.dir)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// beside is the path of a companion of dir: hidden, in the same folder, so that a rename is one step.
func beside(dir, what string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+"."+what)
}

// checkPlace refuses a directory with anything in it that no build has put there.
func checkPlace(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.ENOTDIR):
		return &NotImageError{dir, "a file"}
	case err != nil:
		return err
	}
	known := []string{manifest.Name, stampFile, kernelFile, sbomFile, rootDir, rootFile}
	for _, s := range segments {
		known = append(known, s.name)
	}
	if m, err := manifest.Read(dir); err == nil { // another version of picolab may have other names for its files
		for _, f := range m.Files {
			known = append(known, f.Name)
		}
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			return &NotImageError{dir, e.Name()}
		}
	}
	return nil
}

// replace fills a new directory and puts it in the place of the old one, which is removed.
func (p *place) replace(fill func(dir string) error) error {
	tmp := beside(p.dir, "new")
	defer RemoveAll(tmp)
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	return p.swap(tmp)
}

// swap puts tmp under the final name. The old image stays beside while a lab runs in its root filesystem.
func (p *place) swap(tmp string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, p.dir, unix.RENAME_EXCHANGE)
	switch {
	case errors.Is(err, unix.ENOENT): // no old one
		if err := os.Rename(tmp, p.dir); err != nil {
			return err
		}
		return syncDir(filepath.Dir(p.dir))
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // a file system without the exchange
		return p.swapInTwo(tmp)
	case err != nil:
		return fmt.Errorf("put the new image in place: %w", err)
	}
	return errors.Join(os.Rename(tmp, p.oldName()), syncDir(filepath.Dir(p.dir)), p.sweep())
}

// swapInTwo does without the exchange; between the two steps there is no image.
func (p *place) swapInTwo(tmp string) error {
	old := p.oldName()
	if err := os.Rename(p.dir, old); err != nil {
		return err
	}
	if err := os.Rename(tmp, p.dir); err != nil {
		return errors.Join(err, os.Rename(old, p.dir))
	}
	return errors.Join(syncDir(filepath.Dir(p.dir)), p.sweep())
}

func (p *place) oldName() string {
	return beside(p.dir, fmt.Sprintf("old-%x", time.Now().UnixNano()))
}

// sweep removes half-built and replaced images beside dir, except those that a running lab still uses. Only the holder
// of the lock may call it.
func (p *place) sweep() error {
	RemoveAll(beside(p.dir, "new"))
	old, err := filepath.Glob(escape(beside(p.dir, "old-")) + "*")
	for _, dir := range old {
		if !inUse(dir) {
			RemoveAll(dir)
		}
	}
	return err
}

// escape quotes what filepath.Match gives a meaning.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// inUse says whether dir is mounted in the mount namespace of any process that may be looked at. The kernel keeps the
// path in mountinfo right across renames (proc_pid_mountinfo(5), field 4; it is relative to the file system's root, so
// the last two elements have to do).
func inUse(dir string) bool {
	tail := strings.ReplaceAll(filepath.Join("/", filepath.Base(filepath.Dir(dir)), filepath.Base(dir)), " ", `\040`)
	tables, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, t := range tables {
		data, err := os.ReadFile(t)
		if err == nil && strings.Contains(string(data), tail+"/") {
			return true
		}
	}
	return false
}

// RemoveAll removes a directory although directories in it may be read-only. Errors are not told: what stays of an image
// is swept by the next build of it.
func RemoveAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
