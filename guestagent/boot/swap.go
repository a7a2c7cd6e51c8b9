package boot

import (
	"fmt"
	"os"
	"path/filepath"
)

// resumeFile takes the device number of the disk that a hibernated kernel left itself on: the kernel looks there at once,
// and does not come back when it finds itself (Linux, Documentation/power/swsusp.rst). It keeps the number for the next
// hibernation.
const resumeFile = "/sys/power/resume"

// openSwap resumes what was suspended to the swap disk, or swaps to it when there is nothing to resume. It must come
// before anything else touches a disk.
func (g *guest) openSwap() error {
	disk := g.conf.Swap
	if disk == "" {
		return nil
	}
	if err := g.modules.Load("virtio_blk"); err != nil {
		return err
	}
	number, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(disk), "dev"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(resumeFile, number, 0); err != nil {
		return fmt.Errorf("resume from %s: %w", disk, err)
	}
	return swapOn(disk)
}
