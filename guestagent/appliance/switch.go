package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// moved are the file systems that both roots have.
var moved = []string{"dev", "proc", "sys", "run"}

// switchRoot makes target the root. What it does is util-linux's switch_root(8): the first root of a Linux system can
// neither be unmounted nor pivoted, so it is emptied and the new one is mounted over it. But it starts no other init: this
// program is the one in target, and all its threads have one root (clone(2), CLONE_FS; Go's have). Its file is gone from the
// old root and stays in memory.
func switchRoot(target string) error {
	if err := checkFirst(); err != nil {
		return err
	}
	for _, dir := range moved {
		if err := unix.Mount("/"+dir, filepath.Join(target, dir), "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move /%s: %w", dir, err)
		}
	}
	old, err := os.Open("/")
	if err != nil {
		return err
	}
	if err := os.Chdir(target); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s: %w", target, err)
	}
	err = empty(old)
	old.Close()
	if err != nil {
		fmt.Fprintf(os.Stderr, "picolab: memory of the boot segments: %v\n", err) // it stays in use, no more
	}
	if err := errors.Join(unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	return nil
}

// checkFirst refuses to empty a root that is not the one in memory that a kernel starts with.
func checkFirst() error {
	var st unix.Statfs_t
	if err := unix.Statfs("/", &st); err != nil {
		return err
	}
	if t := int64(st.Type); os.Getpid() != 1 || t != unix.RAMFS_MAGIC && t != unix.TMPFS_MAGIC {
		return errors.New("not the first process in the memory of the boot segments")
	}
	return nil
}

// empty removes everything in a directory that is on its file system. It goes by descriptors: a path would lead into the
// new root by now.
func empty(dir *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	return emptyDir(dir, st.Dev)
}

func emptyDir(dir *os.File, device uint64) error {
	entries, err := dir.ReadDir(-1)
	for _, e := range entries {
		err = errors.Join(err, removeAt(dir, e, device))
	}
	return err
}

func removeAt(dir *os.File, e fs.DirEntry, device uint64) error {
	if !e.IsDir() {
		return unix.Unlinkat(int(dir.Fd()), e.Name(), 0)
	}
	fd, err := unix.Openat(int(dir.Fd()), e.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	sub := os.NewFile(uintptr(fd), e.Name())
	defer sub.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != device {
		return err // a file system of its own: not ours to empty
	}
	if err := emptyDir(sub, device); err != nil {
		return err
	}
	return unix.Unlinkat(int(dir.Fd()), e.Name(), unix.AT_REMOVEDIR)
}
