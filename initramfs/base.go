package initramfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"picolab/initramfs/bb"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// source names this package in messages about conflicts.
const source = "image layout"

// mountPoints are the empty directories every image has, with their modes.
var mountPoints = []struct {
	path string
	perm uint32
}{
	{"dev", 0o755}, {"etc/picolab", 0o755}, {"proc", 0o555}, {"root", 0o700}, {"run", 0o755}, {"sys", 0o555}, {"tmp", 0o1777}, {"var", 0o755},
}

// addBase makes the layer that changes least: directories, links, the recipe's files.
func (l *Layers) addBase(r *recipes.Recipe, lk *lock.Lock) error {
	l.Base = tree.New()
	if err := putDirs(l.Base); err != nil {
		return err
	}
	for _, dir := range []string{"bin", "sbin", "usr/bin", "usr/sbin"} {
		to := strings.Repeat("../", strings.Count(dir, "/")) + bb.Dir
		if err := l.Base.Put(dir, tree.Symlink(to).From(source)); err != nil {
			return err
		}
	}
	// The kernel opens the console for init before anything can be mounted on dev.
	if err := l.Base.Put("dev/console", tree.CharDevice(0o600, 5, 1).From(source)); err != nil {
		return err
	}
	if err := l.Base.Put("dev/null", tree.CharDevice(0o666, 1, 3).From(source)); err != nil {
		return err
	}
	if r.Init != "" {
		if err := l.Base.Put("init", tree.Symlink(bb.Dir+"/"+r.Init).From(source)); err != nil {
			return err
		}
	}
	if err := putIdentity(l.Base, r, lk); err != nil {
		return err
	}
	return putFiles(l.Base, r.Files)
}

// addPayload makes the layer with the busybox.
func (l *Layers) addPayload(r *recipes.Recipe) error {
	t := l.Busybox.Tree.Clone()
	if r.Init != "" {
		if _, ok := t.Get(bb.Dir + "/" + r.Init); !ok {
			return fmt.Errorf("init %q is not one of the recipe's commands", r.Init)
		}
	}
	if _, ok := t.Get(bb.Dir + "/gosh"); ok {
		if err := t.Put(bb.Dir+"/sh", tree.Symlink("gosh").From(source)); err != nil {
			return err
		}
	}
	data, err := json.Marshal(map[string]string{"busybox": l.Busybox.SHA256, "go": l.Busybox.GoVersion})
	if err != nil {
		return err
	}
	l.Payload = t
	return put(t, "etc/picolab/build.json", string(data)+"\n")
}

func putDirs(t *tree.Tree) error {
	for _, d := range mountPoints {
		if err := replace(t, d.path, tree.Dir(d.perm).From(source)); err != nil {
			return err
		}
	}
	return nil
}

// putIdentity writes etc/picolab/image.json: what the image was made from, as far as it is known before it is made.
func putIdentity(t *tree.Tree, r *recipes.Recipe, lk *lock.Lock) error {
	data, err := json.Marshal(struct {
		Name  string `json:"name"`
		Kind  string `json:"kind"`
		Lock  string `json:"lock"`
		Epoch int64  `json:"epoch"`
	}{r.Name, r.Kind, lk.Digest(), lk.Epoch})
	if err != nil {
		return err
	}
	return put(t, "etc/picolab/image.json", string(data)+"\n")
}

// putFiles writes the recipe's files, over those of packages.
func putFiles(t *tree.Tree, files []recipes.File) error {
	for _, f := range files {
		e, err := fileEntry(f)
		if err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
		if err := replace(t, strings.TrimPrefix(f.Path, "/"), e.From("recipe")); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return nil
}

func fileEntry(f recipes.File) (tree.Entry, error) {
	if f.Link != "" {
		return tree.Symlink(f.Link), nil
	}
	perm, err := f.Perm()
	return tree.Regular(perm, tree.Bytes([]byte(f.Content))), err
}

// replace puts e in the place of what t has there; a directory stays what it is unless e is one.
func replace(t *tree.Tree, path string, e tree.Entry) error {
	old, ok := t.Get(path)
	switch {
	case !ok:
	case old.IsDir() && !e.IsDir():
		return errors.New("is a directory already")
	case old.IsDir():
		return chmod(t, path, e)
	default:
		t.Remove(path)
	}
	return t.Put(path, e)
}

// chmod replaces a directory's entry and keeps what is in it.
func chmod(t *tree.Tree, path string, e tree.Entry) error {
	below := tree.New()
	for p, entry := range t.All() {
		if strings.HasPrefix(p, path+"/") {
			if err := below.Put(p, entry); err != nil {
				return err
			}
		}
	}
	t.Remove(path)
	if err := t.Put(path, e); err != nil {
		return err
	}
	return t.Merge(below)
}

func put(t *tree.Tree, path, content string) error {
	return t.Put(path, tree.Regular(0o644, tree.Bytes([]byte(content))).From(source))
}
