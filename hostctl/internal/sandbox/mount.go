package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountTree makes the file system that everything inside sees and enters it. The order matters: sources are opened
// before anything is mounted over them, and a new /proc needs the old one still in sight (mount_too_revealing).
func (p *plan) mountTree() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return denied("make mounts private", err)
	}
	sources, err := openSources(p.Binds)
	if err != nil {
		return err
	}
	defer closeAll(sources)
	nodes, err := openNodes()
	if err != nil {
		return err
	}
	defer closeNodes(nodes)
	stage, err := p.bindRoot()
	if err != nil {
		return err
	}
	if err := mountSystem(stage, nodes); err != nil {
		return err
	}
	for i, b := range p.Binds {
		if err := bindInto(stage, b, sources[i]); err != nil {
			return err
		}
	}
	return pivot(stage)
}

// bindRoot puts the host root, read-only, where it can become the root: on itself, or on another folder when it is the
// present root already, which cannot be pivoted to.
func (p *plan) bindRoot() (string, error) {
	stage := p.Root
	if stage == "/" {
		stage = "/mnt"
	}
	if err := unix.Mount(p.Root, stage, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", denied("bind host root "+p.Root, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if err := setAttr(stage, attr); err != nil {
		return "", denied("make host root read-only", err)
	}
	return stage, nil
}

// setAttr changes a mount and all below it. mount_setattr(2) came with Linux 5.12; before it a remount, which in a user
// namespace must repeat the flags that are locked, does it for the top mount alone.
func setAttr(path string, attr unix.MountAttr) error {
	err := unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &attr)
	if !errors.Is(err, unix.ENOSYS) {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	const locked = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME
	// ST_* and MS_* have the same values for these; MOUNT_ATTR_RDONLY and NOSUID equal MS_RDONLY and MS_NOSUID.
	flags := uintptr(st.Flags)&locked | uintptr(attr.Attr_set)&(unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV)
	return unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|flags, "")
}

// mountSystem mounts what is not in the image: /dev, /proc, /sys and the writable /run and /tmp.
func mountSystem(stage string, nodes []node) error {
	if err := mountDev(filepath.Join(stage, "dev"), nodes); err != nil {
		return err
	}
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := mount("proc", stage, "/proc", plain, ""); err != nil {
		return err
	}
	// Where the container's own /sys is read-only, so must the new one be.
	if err := mount("sysfs", stage, "/sys", plain, ""); err != nil {
		if mount("sysfs", stage, "/sys", plain|unix.MS_RDONLY, "") != nil {
			return err
		}
	}
	for _, dir := range []string{"/run", "/tmp"} {
		if err := mount("tmpfs", stage, dir, unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
			return err
		}
	}
	return nil
}

func mount(fstype, stage, dir string, flags uintptr, data string) error {
	err := unix.Mount(fstype, filepath.Join(stage, dir), fstype, flags, data)
	if errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("%w: the host root has no folder %s", err, dir)
	}
	if err != nil {
		return denied("mount "+fstype+" on "+dir, err)
	}
	return nil
}

func openSources(binds []Bind) ([]*os.File, error) {
	var files []*os.File
	for _, b := range binds {
		f, err := openPath(b.Source)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("open bind source: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// openPath pins a path without opening what is there: sockets and devices have side effects.
func openPath(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func bindInto(stage string, b Bind, source *os.File) error {
	step := "bind " + b.Source + " on " + b.Target
	target := filepath.Join(stage, b.Target)
	if err := bindFile(source, target); err != nil {
		return denied(step, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if b.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := setAttr(target, attr); err != nil {
		return denied(step, err)
	}
	return nil
}

// bindFile makes the mount point and bind-mounts an open path on it.
func bindFile(source *os.File, target string) error {
	st, err := source.Stat()
	if err != nil {
		return err
	}
	if err := mountPoint(target, st.IsDir()); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", source.Fd()), target, "", unix.MS_BIND|unix.MS_REC, "")
}

func mountPoint(path string, dir bool) error {
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// pivot makes stage the root and drops the old one. The initial ramfs of a lab PC cannot be pivoted away from, so there
// the new root is moved over it.
func pivot(stage string) error {
	if err := os.Chdir(stage); err != nil {
		return denied("enter host root", err)
	}
	err := unix.PivotRoot(".", ".")
	if err == nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
	} else if errors.Is(err, unix.EINVAL) {
		err = moveRoot()
	}
	if err == nil {
		err = os.Chdir("/")
	}
	if err != nil {
		return denied("pivot_root", err)
	}
	return nil
}

func moveRoot() error {
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	return unix.Chroot(".")
}
