package bb

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picolab/initramfs/tree"
)

// modulesFile lists the modules in a busybox, beside it.
const modulesFile = "modules.json"

// keep is how many results stay in the cache: enough for two images on a few branches.
const keep = 16

// load reads a cache entry, and counts as a use of it.
func (b *builder) load(entry string) (*Busybox, error) {
	data, err := os.ReadFile(filepath.Join(entry, modulesFile))
	if err != nil {
		return nil, err
	}
	box := &Busybox{Tree: tree.New(), GoVersion: b.go_.version}
	if err := json.Unmarshal(data, &box.Modules); err != nil {
		return nil, fmt.Errorf("read %s: %w", entry, err)
	}
	blob, err := tree.OpenFile(filepath.Join(entry, binary))
	if err != nil {
		return nil, err
	}
	sum := blob.SHA256()
	box.SHA256 = hex.EncodeToString(sum[:])
	touch(entry)
	return box, b.fill(box.Tree, blob)
}

// fill puts the binary and its links into t.
func (b *builder) fill(t *tree.Tree, blob tree.Blob) error {
	if err := t.Put(Dir+"/"+binary, tree.Regular(0o755, blob).From("busybox")); err != nil {
		return err
	}
	for _, c := range b.commands() {
		if err := t.Put(Dir+"/"+path.Base(c), tree.Symlink(binary).From("busybox")); err != nil {
			return err
		}
	}
	return nil
}

// publish makes the directory entry by filling a temporary one beside it. Of two at once the first wins: both have
// made the same.
func publish(entry string, fill func(tmp string) error) error {
	if err := os.MkdirAll(filepath.Dir(entry), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(entry), ".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return err
	}
	err = os.Rename(tmp, entry)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// touch marks an entry as used now; that it fails costs no more than an early removal.
func touch(entry string) {
	now := time.Now()
	_ = os.Chtimes(entry, now, now)
}

// prune removes all but the n entries of dir used last, and leftovers of builds that died an hour ago.
func prune(dir string, n int) {
	entries, _ := os.ReadDir(dir)
	type used struct {
		name string
		at   time.Time
	}
	var all []used
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil:
		case !strings.HasPrefix(e.Name(), "."):
			all = append(all, used{e.Name(), info.ModTime()})
		case time.Since(info.ModTime()) > time.Hour:
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	slices.SortFunc(all, func(a, b used) int { return b.at.Compare(a.at) })
	for _, u := range all[min(n, len(all)):] {
		_ = os.RemoveAll(filepath.Join(dir, u.name))
	}
}
