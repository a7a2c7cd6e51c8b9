package lab

import (
	"errors"
	"path/filepath"

	"picolab/hostctl/internal/inflate"
	"picolab/images/manifest"
)

// bootable returns the kernel file that QEMU is given. Under TCG it is unpacked here, once: the guest would spend a second
// on it at every boot.
func (l *Lab) bootable(m *manifest.Manifest) (string, error) {
	if l.spec.Accel != AccelTCG || l.env.Cache == "" {
		return m.Kernel(), nil
	}
	path, err := inflate.KernelFile(filepath.Join(l.env.Cache, "kernels"), m.Kernel(), m.KernelSHA256())
	if errors.Is(err, inflate.ErrUnsupported) {
		l.logf("image %s: its kernel unpacks itself: %v", m.Name, err)
		return m.Kernel(), nil
	}
	return path, err
}
