package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Hibernate makes the guest suspend itself to its swap disk (S4) and waits for QEMU's end. A guest that does not is its
// own fault, and is stopped.
func (v *VM) Hibernate(ctx context.Context) error { return v.powerDown(ctx, "hibernate") }

// Resume starts QEMU again, as it was, and waits for Hello: from the life that Hibernate has ended, whose token and
// boot id are the old ones, or from a new one, with a boot id of its own, when the guest does not find its memory.
func (v *VM) Resume(ctx context.Context) error {
	v.power.Lock()
	defer v.power.Unlock()
	release, err := v.lab.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	r, err := v.startQEMU(ctx, v.Token())
	if err != nil {
		return err
	}
	return v.awaitHello(ctx, r.started, "")
}

// swapFile is the disk that the guest swaps to, "" when it has none. It goes with the lab.
func (v *VM) swapFile() string {
	if v.spec.SwapMiB == 0 {
		return ""
	}
	return filepath.Join(v.lab.sockets, v.spec.Name+".swap")
}

// swapDevice is what the guest calls it: a host image has its root file system on the first disk.
func (v *VM) swapDevice() string {
	switch {
	case v.spec.SwapMiB == 0:
		return ""
	case v.image.RootFile() != "":
		return "/dev/vdb"
	}
	return "/dev/vda"
}

// prepareDisks makes the swap disk anew: a guest that is started, and not resumed, has nothing to come back to.
func (v *VM) prepareDisks() error {
	path := v.swapFile()
	if path == "" {
		return nil
	}
	size := int64(v.spec.SwapMiB) << 20
	header, err := swapHeader(size)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, header, 0o600); err != nil {
		return fmt.Errorf("make swap disk: %w", err)
	}
	return os.Truncate(path, size)
}
