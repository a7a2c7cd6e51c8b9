package initramfs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
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
func (l *Layers) addBase(r *recipes.Recipe, lk *lock.Lock, packages *tree.Tree, here *locals) error {
	l.Base = tree.New()
	if hasUserland(r) {
		l.Base = packages
	}
	if err := putDirs(l.Base); err != nil {
		return err
	}
	if err := l.linkCommands(r); err != nil {
		return err
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
	return putFiles(l.Base, baseFiles(r), here)
}

// hasUserland says whether a guest has packages in memory beside the busybox.
func hasUserland(r *recipes.Recipe) bool { return r.Kind != kindHost && len(r.Packages) > 0 }

// linkCommands makes the busybox's commands be found where programs look for them. Beside packages each has a link of its
// own, and those of packages come first.
func (l *Layers) linkCommands(r *recipes.Recipe) error {
	if !hasUserland(r) {
		for _, dir := range []string{"bin", "sbin", "usr/bin", "usr/sbin"} {
			to := strings.Repeat("../", strings.Count(dir, "/")) + bb.Dir
			if err := l.Base.Put(dir, tree.Symlink(to).From(source)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, dir := range merged {
		if err := mergeLink(l.Base, dir); err != nil {
			return err
		}
	}
	for _, c := range r.BootCommands() {
		name := path.Base(c)
		if err := l.linkCommand(name, name); err != nil {
			return err
		}
		if name != "gosh" {
			continue
		}
		if err := l.linkCommand("sh", name); err != nil {
			return err
		}
	}
	return nil
}

func (l *Layers) linkCommand(name, command string) error {
	for _, dir := range []string{"usr/bin/", "usr/sbin/"} {
		if _, ok := l.Base.Get(dir + name); ok {
			return nil
		}
	}
	return l.Base.Put("usr/bin/"+name, tree.Symlink("../../"+bb.Dir+"/"+command).From(source))
}

// baseFiles are the recipe's files that go into memory at boot. A host has its programs in the root filesystem: what a
// recipe puts below usr is for that.
func baseFiles(r *recipes.Recipe) []recipes.File {
	if r.Kind != kindHost {
		return r.Files
	}
	return slices.DeleteFunc(slices.Clone(r.Files), func(f recipes.File) bool { return strings.HasPrefix(f.Path, "/usr/") })
}

// addPayload makes the layer with the busybox.
func (l *Layers) addPayload(r *recipes.Recipe) (err error) {
	l.Payload, err = commands(cmp.Or(l.boot, l.Busybox), r.Init)
	return err
}

// commands is a busybox with what belongs beside it.
func commands(box *bb.Busybox, init string) (*tree.Tree, error) {
	t := box.Tree.Clone()
	if init != "" {
		if _, ok := t.Get(bb.Dir + "/" + init); !ok {
			return nil, fmt.Errorf("init %q is not one of the recipe's commands", init)
		}
	}
	if _, ok := t.Get(bb.Dir + "/gosh"); ok {
		if err := t.Put(bb.Dir+"/sh", tree.Symlink("gosh").From(source)); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(map[string]string{"busybox": box.SHA256, "go": box.GoVersion})
	if err != nil {
		return nil, err
	}
	return t, put(t, "etc/picolab/build.json", string(data)+"\n")
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
func putFiles(t *tree.Tree, files []recipes.File, here *locals) error {
	for _, f := range files {
		e, err := fileEntry(f, here)
		if err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
		if err := replace(t, strings.TrimPrefix(f.Path, "/"), e.From("recipe")); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return nil
}

func fileEntry(f recipes.File, here *locals) (tree.Entry, error) {
	if f.Link != "" {
		return tree.Symlink(f.Link), nil
	}
	perm, err := f.Perm()
	if err == nil && f.Source != "" {
		blob, err := here.blob(f.Path)
		if err != nil {
			return tree.Entry{}, err
		}
		return tree.Regular(perm, blob), nil
	}
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
