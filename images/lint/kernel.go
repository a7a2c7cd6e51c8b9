package lint

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"picolab/initramfs/cpio"
	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
	"picolab/recipes"
)

// maxESP is what images/disk makes at most, in bytes.
const maxESP = 8 << 30

// closure resolves each module by itself, so that every one that fails is named.
func (l *linter) closure(context.Context) error {
	if l.kernel == nil || l.kernel.Tree == nil {
		return nil
	}
	all := slices.Concat(l.Recipe.Kernel.Load, l.Recipe.Kernel.Modules, l.kernel.Extra)
	var err error
	if l.modules, err = kmod.Closure(l.kernel.Tree, all); err == nil {
		return nil
	}
	var good []string
	for _, list := range []struct {
		node  string
		names []string
	}{{"kernel.load", l.Recipe.Kernel.Load}, {"kernel.modules", l.Recipe.Kernel.Modules}} {
		for i, name := range list.names {
			if _, err := kmod.Closure(l.kernel.Tree, []string{name}); err != nil {
				l.add(Error, "module", fmt.Sprintf("%s[%d]", list.node, i), "%v", err)
				continue
			}
			good = append(good, name)
		}
	}
	l.modules, err = kmod.Closure(l.kernel.Tree, append(good, l.kernel.Extra...))
	if err != nil {
		return l.fault("module", "kernel.extra", err)
	}
	return nil
}

// sizes packs what is known before the busybox is compiled: kernel and modules.
func (l *linter) sizes(context.Context) error {
	if l.kernel == nil {
		return nil
	}
	boots := l.kernel.Image.Size()
	if l.kernel.Tree != nil {
		n, err := l.packed()
		if err != nil {
			return err
		}
		boots += n
	}
	most, err := l.Recipe.Limits.Boot.Bytes()
	const format = "kernel and modules take %.1f MB of the %.1f MB that limits.boot allows, without any command: name fewer modules, or raise it"
	switch {
	case err != nil || most == 0:
	case boots > most:
		l.add(Error, "size", "limits.boot", format, float64(boots)/1e6, float64(most)/1e6)
	case boots > most/5*4:
		l.add(Warning, "size", "limits.boot", format, float64(boots)/1e6, float64(most)/1e6)
	}
	if boots > maxESP {
		l.add(Error, "size", "kernel", "kernel and modules take %.1f GB, an EFI system partition has %.1f GB at most", float64(boots)/1e9, maxESP/1e9)
	}
	return nil
}

// packed is the size of the segment with the modules.
func (l *linter) packed() (int64, error) {
	var names []string
	for _, m := range l.modules {
		names = append(names, m.Name)
	}
	t, err := kmod.Stage(l.kernel.Tree, names, "lib/modules")
	if err != nil {
		return 0, err
	}
	var n counter
	err = cpio.Segment(&n, t, l.Lock.Epoch, cpio.ZstdDefault)
	return int64(n), err
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

var _ io.Writer = new(counter)

// signatureEnd is how a signed module ends (Linux, Documentation/admin-guide/module-signing.rst).
var signatureEnd = []byte("~Module signature appended~\n")

// signatures looks at the modules that were built elsewhere.
func (l *linter) signatures(context.Context) error {
	if l.kernel == nil || l.kernel.Tree == nil || len(l.kernel.Extra) == 0 {
		return nil
	}
	t, err := kmod.Stage(l.kernel.Tree, l.kernel.Extra, "lib/modules")
	if err != nil {
		return nil // closure has said so
	}
	var unsigned []string
	for p, e := range t.All() {
		name, ok := moduleName(p)
		if !ok || !slices.Contains(l.kernel.Extra, name) {
			continue
		}
		data, err := tree.ReadAll(e.Blob)
		if err != nil {
			return err
		}
		if !bytes.HasSuffix(data, signatureEnd) {
			unsigned = append(unsigned, name)
		}
	}
	for _, name := range unsigned {
		l.add(Warning, "unsigned", extraNode(l.Recipe, name), "module %s has no signature: it does not load where Secure Boot is on", name)
	}
	return nil
}

// extraNode finds the entry of a .ko; modules of a package have the list's place.
func extraNode(r *recipes.Recipe, name string) string {
	for i, e := range r.Kernel.Extra {
		if of, ok := moduleName(e.Path); ok && of == name {
			return fmt.Sprintf("kernel.extra[%d]", i)
		}
	}
	return "kernel.extra"
}
