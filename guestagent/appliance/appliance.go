// Package appliance makes the root file system of a host image the root of the machine that boots it.
//
// The boot segments have the kernel's storage drivers and this program. It looks for the root file system, a squashfs, on
// the device that the kernel argument picolab.root names, or as the file picolab/root.squashfs on the FAT volume whose
// id file the argument picolab.stick names; mounts it read-only; puts a file system in memory over it; frees the
// memory of the boot segments; and goes on in the new root, as the init that it has, too. No disk is written to.
//
// Kernel arguments:
//
//	picolab.root=/dev/vda   the device with the squashfs
//	picolab.stick=ID        the volume with the file picolab/ID.id, 16 hex digits
//	picolab.delay=SECONDS   wait before looking, for devices that are there but not ready
//	picolab.rootwait=SECONDS  how long to look, 60 by default
//	picolab.copy            copy the file into memory: the stick may then be pulled out
package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"picolab/guestagent/module"
)

// Where things are mounted; they stay there for the running appliance.
const (
	Root  = "/run/picolab/root"  // the squashfs, read-only
	Stick = "/run/picolab/stick" // the FAT volume, read-only; an empty folder without one
)

// On the stick.
const (
	folder   = "picolab"
	rootFile = folder + "/root.squashfs"
)

// defaultWait is for sticks behind hubs and controllers that reset slowly.
const defaultWait = time.Minute

// Options are what the kernel arguments ask for.
type Options struct {
	Device string        // of picolab.root
	Image  string        // of picolab.stick
	Delay  time.Duration // before the first look
	Wait   time.Duration // for the device after that
	Copy   bool
}

// FromArguments reads the kernel arguments, without their prefix "picolab.". ok is false when they ask for no root: the
// machine is a guest.
func FromArguments(args map[string]string) (o Options, ok bool, err error) {
	o = Options{Device: args["root"], Image: args["stick"], Wait: defaultWait, Copy: args["copy"] == "1"}
	if o.Device == "" && o.Image == "" {
		return Options{}, false, nil
	}
	for name, to := range map[string]*time.Duration{"delay": &o.Delay, "rootwait": &o.Wait} {
		if text, given := args[name]; given {
			seconds, e := strconv.ParseUint(text, 10, 16)
			if e != nil {
				err = errors.Join(err, fmt.Errorf("kernel argument picolab.%s=%s: not a number of seconds", name, text))
				continue
			}
			*to = time.Duration(seconds) * time.Second
		}
	}
	return o, true, err
}

// State is what the running appliance knows of how its root was found.
type State struct {
	Device string        // of the root, or of the volume with its file
	Stick  bool          // Stick is mounted
	Took   time.Duration // to find it
}

// Enter finds the root and makes it this process's own, with what it had mounted on /dev, /proc, /sys and /run. An error
// says what it has seen in the root's place. keep are files of the old root, by absolute path, that the new one gets too.
// It must be called by PID 1 with these four mounted, and no other goroutine using files.
func Enter(o Options, modules *module.Set, keep []string, logf func(string, ...any)) (State, error) {
	began := time.Now()
	f := &finder{Options: o, modules: modules, logf: logf, sys: "/sys", dev: "/dev", tried: make(map[string]string)}
	device, err := f.find()
	if err != nil {
		return State{}, err
	}
	s := State{Device: device, Stick: o.Device == "", Took: time.Since(began)}
	if err := overlay(newRoot); err != nil {
		return State{}, fmt.Errorf("root file system: %w", err)
	}
	for _, name := range keep {
		if err := copyFile(name, newRoot+name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return State{}, fmt.Errorf("root file system: %w", err)
		}
	}
	return s, switchRoot(newRoot)
}
