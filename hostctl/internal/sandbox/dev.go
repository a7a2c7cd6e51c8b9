package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// devices are the nodes and folders of /dev that are shown inside when this machine has them. Only null is necessary.
var devices = []string{
	"null", "zero", "full", "random", "urandom", "tty",
	"net/tun", "kvm", "vhost-net", "vhost-vsock", "vsock", "vfio", "hugepages",
}

// node is an open path of a device outside.
type node struct {
	name string
	file *os.File
}

func openNodes() ([]node, error) {
	var nodes []node
	for _, name := range devices {
		f, err := openPath("/dev/" + name)
		if errors.Is(err, os.ErrNotExist) && name != "null" {
			continue
		}
		if err != nil {
			closeNodes(nodes)
			return nil, denied("open device", err)
		}
		nodes = append(nodes, node{name, f})
	}
	return nodes, nil
}

func closeNodes(nodes []node) {
	for _, n := range nodes {
		n.file.Close()
	}
}

// mountDev fills an empty /dev with bind mounts of the real nodes: an ordinary user cannot make nodes.
func mountDev(dev string, nodes []node) error {
	if err := mount("tmpfs", dev, "", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=1m"); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := bindFile(n.file, filepath.Join(dev, n.name)); err != nil {
			return denied("bind /dev/"+n.name, err)
		}
	}
	if err := mountPty(dev); err != nil {
		return err
	}
	return linkDev(dev)
}

func mountPty(dev string) error {
	for _, m := range []struct{ fstype, dir, data string }{
		{"devpts", "pts", "newinstance,ptmxmode=0666,mode=0620"},
		{"tmpfs", "shm", "mode=1777"},
	} {
		if err := os.Mkdir(filepath.Join(dev, m.dir), 0o755); err != nil {
			return denied("make /dev/"+m.dir, err)
		}
		if err := mount(m.fstype, dev, m.dir, unix.MS_NOSUID|unix.MS_NOEXEC, m.data); err != nil {
			return err
		}
	}
	return nil
}

func linkDev(dev string) error {
	for _, l := range [][2]string{
		{"ptmx", "pts/ptmx"}, {"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
	} {
		if err := os.Symlink(l[1], filepath.Join(dev, l[0])); err != nil {
			return fmt.Errorf("link /dev/%s: %w", l[0], err)
		}
	}
	return nil
}
