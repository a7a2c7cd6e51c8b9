package initramfs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
	"picolab/recipes"
)

// addExtra puts modules built elsewhere among those of the kernel, and returns their names. They must have been built for
// exactly this kernel: it would refuse them otherwise, at boot.
func addExtra(ctx context.Context, pkg *tree.Tree, release string, r *recipes.Recipe, here *locals) (names []string, err error) {
	for i, e := range r.Kernel.Extra {
		node := fmt.Sprintf("kernel.extra[%d]", i)
		found, err := here.modules(ctx, node, release)
		if err == nil {
			err = addModules(pkg, found, release)
		}
		if err != nil {
			return nil, r.Fault(node, "%s: %v", e.Path, err)
		}
		for name := range found.All() {
			stem, _, _ := strings.Cut(name, ".ko")
			names = append(names, stem)
		}
	}
	return names, nil
}

// modules returns the module files of a node, by base name.
func (h *locals) modules(ctx context.Context, node, release string) (*tree.Tree, error) {
	base := path.Base(h.entries[node].Path)
	if strings.HasSuffix(base, ".deb") {
		pkg, err := h.deb(ctx, node)
		if err != nil {
			return nil, err
		}
		return modulesOf(pkg, release)
	}
	out := tree.New()
	blob, err := h.blob(node)
	if err != nil {
		return nil, err
	}
	return out, out.Put(base, tree.Regular(0o644, blob).From(base))
}

// modulesOf returns the modules that a package has for a kernel.
func modulesOf(pkg *tree.Tree, release string) (*tree.Tree, error) {
	out, other := tree.New(), ""
	for p, e := range pkg.All() {
		below, ok := strings.CutPrefix(strings.TrimPrefix(p, "usr/"), "lib/modules/")
		of, _, _ := strings.Cut(below, "/")
		if !ok || !e.IsRegular() || !strings.Contains(path.Base(p), ".ko") {
			continue
		}
		if of != release {
			other = of
		} else if err := out.Put(path.Base(p), e); err != nil {
			return nil, err
		}
	}
	switch {
	case out.Len() == 0 && other != "":
		return nil, fmt.Errorf("its modules are for kernel %s, this one is %s", other, release)
	case out.Len() == 0:
		return nil, errors.New("there are no modules in the package")
	}
	return out, nil
}

// addModules puts modules where the kernel's are. One of the kernel's own with the same name gives way, as in
// depmod.d(5)'s search order.
func addModules(pkg, found *tree.Tree, release string) error {
	dir := "lib/modules/" + release
	if _, ok := pkg.Get("usr/" + dir); ok {
		dir = "usr/" + dir
	}
	own := map[string]string{}
	for p := range pkg.All() {
		if name, _, ok := strings.Cut(path.Base(p), ".ko"); ok {
			own[strings.ReplaceAll(name, "-", "_")] = p
		}
	}
	for name, e := range found.All() {
		m, err := kmod.Describe(e.Blob, name)
		if err != nil {
			return err
		}
		if of, _, _ := strings.Cut(m.Vermagic, " "); of != "" && of != release {
			return fmt.Errorf("%s was built for kernel %s, this one is %s", name, of, release)
		}
		if p, ok := own[m.Name]; ok {
			pkg.Remove(p)
		}
		if err := pkg.Put(dir+"/updates/"+name, e); err != nil {
			return err
		}
	}
	return nil
}

// Offsets in a bzImage (Linux, Documentation/arch/x86/boot.rst): the magic, and a pointer to the version's text, which
// counts from the second sector.
const (
	bootMagic   = 0x202
	bootVersion = 0x20e
	bootSector  = 0x200
)

// imageRelease reads the kernel's release from a bzImage.
func imageRelease(image tree.Blob) (string, error) {
	r, err := image.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	head := make([]byte, 64<<10+2*bootSector)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the kernel image: %w", err)
	}
	head = head[:n]
	if n < bootVersion+2 || string(head[bootMagic:bootMagic+4]) != "HdrS" {
		return "", errors.New("the kernel image has no boot header; give arch/x86/boot/bzImage, not vmlinux")
	}
	at := min(n, int(binary.LittleEndian.Uint16(head[bootVersion:]))+bootSector)
	text, _, _ := strings.Cut(string(head[at:]), "\x00")
	release, _, _ := strings.Cut(text, " ")
	if release == "" || len(release) > 64 || strings.ContainsAny(release, "/\x00") {
		return "", fmt.Errorf("the kernel image says that its release is %.80q", release)
	}
	return release, nil
}
