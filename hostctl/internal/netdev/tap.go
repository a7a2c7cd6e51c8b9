package netdev

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tunPath is the clone device of Documentation/networking/tuntap.rst.
const tunPath = "/dev/net/tun"

// CreateTap makes a persistent tap, sets its MTU and master, and brings it up. When anything fails nothing is left.
func CreateTap(t Tap) error {
	if err := checkName(t.Name); err != nil {
		return err
	}
	if Exists(t.Name) {
		// TUNSETIFF would attach to it, whatever it was made for.
		return fmt.Errorf("create tap %s: %w", t.Name, os.ErrExist)
	}
	if err := t.persist(); err != nil {
		return fmt.Errorf("create tap %s: %w", t.Name, err)
	}
	if err := t.configure(); err != nil {
		_ = Delete(t.Name)
		return fmt.Errorf("create tap %s: %w", t.Name, err)
	}
	return nil
}

// persist makes the link; without TUNSETPERSIST it would go with the descriptor.
func (t Tap) persist() error {
	f, err := attach(t.Name, t.flags())
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	if t.Owner >= 0 {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, t.Owner); err != nil {
			return fmt.Errorf("TUNSETOWNER: %w", err)
		}
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("TUNSETPERSIST: %w", err)
	}
	return nil
}

func (t Tap) flags() uint16 {
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if t.Queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	return flags
}

func (t Tap) configure() error {
	if t.MTU > 0 {
		if err := SetMTU(t.Name, t.MTU); err != nil {
			return err
		}
	}
	if t.Master != "" {
		if err := SetMaster(t.Name, t.Master); err != nil {
			return err
		}
	}
	return Up(t.Name)
}

// attach opens the clone device and makes, or attaches to, the named tap.
func attach(name string, flags uint16) (*os.File, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: tunPath, Err: err}
	}
	f := os.NewFile(uintptr(fd), tunPath)
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: the name is taken by a link of another kind or the flags differ from its own", err)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("TUNSETIFF: %w", err)
	}
	return f, nil
}
