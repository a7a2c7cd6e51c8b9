package initramfs

import (
	"errors"
	"path"
	"strings"

	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
	"picolab/recipes"
)

// packed are the endings that the kernel tries after a firmware's name (CONFIG_FW_LOADER_COMPRESS).
var packed = []string{"", ".zst", ".xz"}

// linkDepth is how many links from one file of firmware to the next are followed.
const linkDepth = 8

// modulesDir is where modules go in memory: through a link of merged /usr the kernel's unpacker would put a folder.
func modulesDir(r *recipes.Recipe) string {
	if hasUserland(r) {
		return "usr/lib/modules"
	}
	return "lib/modules"
}

// chooseFirmware returns the files of packages that the modules ask for, and where links among them lead, by their path
// below the folder firmware.
func chooseFirmware(packages *tree.Tree, modules []kmod.Module) (*tree.Tree, error) {
	all, out := tree.New(), tree.New()
	for p, e := range packages.All() {
		if below, ok := strings.CutPrefix(p, "usr/lib/firmware/"); ok && !e.IsDir() {
			if err := all.Put(below, e); err != nil {
				return nil, err
			}
		}
	}
	for p := range all.All() {
		if !asked(p, modules) {
			continue
		}
		if err := follow(out, all, p, linkDepth); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("no module of the image asks for any file of the kernel.firmware packages")
	}
	return out, nil
}

// asked says whether a module names the file, by name or glob.
func asked(p string, modules []kmod.Module) bool {
	for _, m := range modules {
		for _, pattern := range m.Firmware {
			for _, ending := range packed {
				if ok, _ := path.Match(pattern+ending, p); ok {
					return true
				}
			}
		}
	}
	return false
}

// follow takes a file, and what it links to, at most depth links deep.
func follow(out, all *tree.Tree, p string, depth int) error {
	e, ok := all.Get(p)
	if !ok || e.IsDir() || depth == 0 {
		return nil
	}
	if err := out.Put(p, e); err != nil || !e.IsSymlink() {
		return err
	}
	return follow(out, all, path.Join(path.Dir(p), e.Link), depth-1)
}

// moved returns the tree below a folder, which ends in a slash.
func moved(t *tree.Tree, to string) *tree.Tree {
	out := tree.New()
	for p, e := range t.All() {
		if err := out.Put(to+p, e); err != nil {
			panic(err) // unreachable: the tree was valid, and its paths were longer before
		}
	}
	return out
}
