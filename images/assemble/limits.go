package assemble

import (
	"context"
	"fmt"
	"strings"

	"picolab/images/manifest"
	"picolab/initramfs/tree"
)

// SizeError says that an image is larger than its recipe allows.
type SizeError struct {
	What       string // what was measured, with its parts
	Size, Most int64  // bytes
	Field      string // of the recipe
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s is %.1f MB, the recipe's %s allows %.1f MB: name fewer modules, commands or packages, or raise the limit",
		e.What, float64(e.Size)/1e6, e.Field, float64(e.Most)/1e6)
}

// limitBoot compares kernel and segments with limits.boot.
func (w *writer) limitBoot(context.Context) error {
	most, err := w.Recipe.Limits.Boot.Bytes()
	if err != nil || most == 0 {
		return err
	}
	var parts []string
	for _, f := range w.files {
		parts = append(parts, fmt.Sprintf("%s %.1f MB", f.Name, float64(f.Size)/1e6))
	}
	if size := (&manifest.Manifest{Files: w.files}).BootSize(); size > most {
		return &SizeError{"what boots (" + strings.Join(parts, ", ") + ")", size, most, "limits.boot"}
	}
	return nil
}

// limitImage compares what boots and the root file system together with limits.image.
func (w *writer) limitImage(context.Context) error {
	most, err := w.Recipe.Limits.Image.Bytes()
	if err != nil || most == 0 {
		return err
	}
	var size int64
	var parts []string
	for _, f := range w.files {
		if f.Role != manifest.RoleSBOM {
			size += f.Size
			parts = append(parts, fmt.Sprintf("%s %.1f MB", f.Name, float64(f.Size)/1e6))
		}
	}
	if size > most {
		return &SizeError{"the whole image (" + strings.Join(parts, ", ") + ")", size, most, "limits.image"}
	}
	return nil
}

// limitRoot compares the root filesystem's files with limits.root.
func (w *writer) limitRoot(t *tree.Tree) error {
	most, err := w.Recipe.Limits.Root.Bytes()
	if err != nil || most == 0 {
		return err
	}
	var size int64
	for _, e := range t.All() {
		if e.IsRegular() {
			size += e.Size()
		}
	}
	if size > most {
		return &SizeError{"the root filesystem", size, most, "limits.root"}
	}
	return nil
}
