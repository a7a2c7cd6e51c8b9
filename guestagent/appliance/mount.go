package appliance

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Where the new root and the memory over it are made.
const (
	newRoot = "/newroot"
	memory  = "/run/picolab/memory"
)

// mountSquashfs mounts a block device at Root.
func mountSquashfs(device string) error {
	return unix.Mount(device, Root, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, "")
}

// mountLoop mounts a file at Root. The kernel frees the loop device with the mount (loop(4), LO_FLAGS_AUTOCLEAR).
func mountLoop(name string) error {
	device, loop, err := loopDevice(name)
	if err != nil {
		return fmt.Errorf("root file system %s: %w", name, err)
	}
	defer loop.Close()
	if err := mountSquashfs(device); err != nil {
		return fmt.Errorf("root file system %s: %w", name, err)
	}
	return nil
}

// loopDevice attaches a file, read-only. Between the answer and the use another process may take the number: then it
// asks again.
func loopDevice(name string) (string, *os.File, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", nil, err
	}
	defer file.Close() // the device has its own
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	defer control.Close()
	for range 16 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", nil, fmt.Errorf("get a loop device: %w", err)
		}
		device := fmt.Sprintf("/dev/loop%d", n)
		loop, err := os.OpenFile(device, os.O_RDONLY, 0)
		if err != nil {
			return "", nil, err
		}
		c := unix.LoopConfig{Fd: uint32(file.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &c)
		if err == nil {
			return device, loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) {
			return "", nil, fmt.Errorf("set up %s: %w", device, err)
		}
	}
	return "", nil, errors.New("no loop device is free")
}

// mountCopy mounts a copy in memory.
func (f *finder) mountCopy(from string) error {
	f.logf("copying %s into memory", from)
	const dir = "/run/picolab/copy"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size=90%"); err != nil {
		return fmt.Errorf("copy the root file system: %w", err)
	}
	name := filepath.Join(dir, "root.squashfs")
	if err := copyFile(from, name); err != nil {
		return fmt.Errorf("copy the root file system: %w", err)
	}
	return mountLoop(name)
}

// overlay mounts the root with memory over it, which takes what is written, up to three quarters of all there is.
func overlay(target string) error {
	for _, dir := range []string{target, memory} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", memory, "tmpfs", 0, "mode=0755,size=75%"); err != nil {
		return fmt.Errorf("memory over the root: %w", err)
	}
	upper, work := memory+"/upper", memory+"/work"
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", Root, upper, work)
	if err := unix.Mount("overlay", target, "overlay", 0, data); err != nil {
		return fmt.Errorf("memory over the root: %w", err)
	}
	return unix.Unmount(memory, unix.MNT_DETACH) // the overlay keeps it
}

// copyFile copies a file, with private access rights.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 1<<20))
	return err
}
