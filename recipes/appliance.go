package recipes

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Appliance says whether a host boots on its own: it has a kernel, and a file with its root file system beside it.
func (r *Recipe) Appliance() bool { return r.Kind == "host" && len(r.Boot.Modules) > 0 }

// BootCommands are the commands that are in memory at boot: all of a guest's, those that a host names and its init.
func (r *Recipe) BootCommands() []string {
	if !r.Appliance() {
		return r.Commands
	}
	out := slices.Clone(r.Boot.Commands)
	for _, c := range r.Commands {
		if path.Base(c) == r.Init && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// Carried are the recipes of images, as Open takes them: a path is resolved against the file that says it.
func (r *Recipe) Carried() []string {
	out := slices.Clone(r.Images)
	for i, name := range out {
		if at, ok := r.where[fmt.Sprintf("images[%d]", i)]; ok && IsFile(name) && !filepath.IsAbs(name) {
			out[i] = filepath.Join(filepath.Dir(at.file), name)
		}
	}
	return out
}

// Drops says whether a path of a package, relative to the root, stays out.
func (r *Recipe) Drops(name string) bool {
	return slices.ContainsFunc(r.Drop, func(glob string) bool { return within(glob[1:], name) })
}

// within says whether the glob means name or a folder above it.
func within(glob, name string) bool {
	parts := strings.Split(name, "/")
	n := strings.Count(glob, "/") + 1
	ok, _ := path.Match(glob, strings.Join(parts[:min(n, len(parts))], "/")) // the glob was checked
	return ok
}

// checkBoot checks what only hosts have.
func (r *Recipe) checkBoot() error {
	switch {
	case r.Kind != "host" && len(r.Boot.Modules)+len(r.Boot.Commands) > 0:
		return r.fault("boot", "boot is for hosts: a guest has everything in memory")
	case r.Kind != "host" && len(r.Images) > 0:
		return r.fault("images", "only a host carries images")
	case len(r.Boot.Modules) > 0 && !r.HasKernel():
		return r.fault("boot", "boot without a kernel; add kernel: {package: linux-image-amd64}")
	case len(r.Boot.Modules) == 0 && len(r.Boot.Commands) > 0:
		return r.fault("boot.commands", "boot.commands without boot.modules: a host without those does not boot")
	case r.Appliance() && r.Init == "":
		return r.fault("init", "a host that boots needs init: the name of one of its commands")
	}
	if err := r.checkNames("boot.modules", "module", r.Boot.Modules, globShape); err != nil {
		return err
	}
	return r.checkSubset("boot.commands", r.Boot.Commands)
}

// checkSubset checks that the commands are some of the recipe's.
func (r *Recipe) checkSubset(node string, list []string) error {
	for i, c := range list {
		if !slices.Contains(r.Commands, c) {
			return r.fault(fmt.Sprintf("%s[%d]", node, i), "command %s is not one of commands", c)
		}
		if slices.Contains(list[:i], c) {
			return r.fault(fmt.Sprintf("%s[%d]", node, i), "command %s is listed twice; remove one", c)
		}
	}
	return nil
}

func (r *Recipe) checkDrop() error {
	for i, glob := range r.Drop {
		_, err := path.Match(glob, "")
		if err != nil || !path.IsAbs(glob) || path.Clean(glob) != glob || glob == "/" {
			return r.fault(fmt.Sprintf("drop[%d]", i), "drop %q: use an absolute path, * ? and [] for parts of a name", glob)
		}
	}
	return nil
}
