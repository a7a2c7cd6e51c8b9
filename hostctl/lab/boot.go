package lab

import (
	"errors"
	"path/filepath"

	"picolab/hostctl/internal/inflate"
	"picolab/images/manifest"
)

// bootable returns the kernel file that QEMU is given. For a slow guest it is unpacked here, once: it would spend a second on
// it at every boot under TCG, and ten in an emulated machine. A guest that may sleep (S3) unpacks it itself: QEMU loads an
// unpacked one as ROMs, which the reset of a wake-up copies over the sleeping kernel again.
func (l *Lab) bootable(g Guest, m *manifest.Manifest) (string, error) {
	if !l.spec.emulated() || l.env.Cache == "" || g.SwapMiB > 0 {
		return m.Kernel(), nil
	}
	path, err := inflate.KernelFile(filepath.Join(l.env.Cache, "kernels"), m.Kernel(), m.KernelSHA256())
	if errors.Is(err, inflate.ErrUnsupported) {
		l.logf("image %s: its kernel unpacks itself: %v", m.Name, err)
		return m.Kernel(), nil
	}
	return path, err
}
