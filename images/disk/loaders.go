package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Files of Debian's packages shim-signed, shim-helpers-amd64-signed, grub-efi-amd64-signed, grub-pc-bin, grub-common
// and libc6, below the root.
const (
	shimFile  = "usr/lib/shim/shimx64.efi.signed"
	keysFile  = "usr/lib/shim/mmx64.efi.signed"
	grubFile  = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
	grubDir   = "usr/lib/grub/i386-pc"
	bootFile  = grubDir + "/boot.img"
	mkimage   = "usr/bin/grub-mkimage"
	linker    = "usr/lib64/ld-linux-x86-64.so.2"
	libraries = "usr/lib/x86_64-linux-gnu"
)

// grubModules are what GRUB's core for BIOSes needs to find the ESP and show the menu.
var grubModules = strings.Fields("biosdisk part_gpt part_msdos fat normal linux linux16 configfile search search_fs_file echo serial terminal test ls halt reboot sleep")

// LoaderError says that a root filesystem lacks the boot loaders.
type LoaderError struct{ Root, File string }

func (e *LoaderError) Error() string {
	return fmt.Sprintf("%s has no %s: boot loaders come from a host image, build it with `labimage build host -o DIR` and name it with --host DIR", e.Root, e.File)
}

// CheckLoaders says whether the root filesystem in dir has all that a disk takes, with a *LoaderError if not.
func CheckLoaders(dir string) error {
	for _, name := range []string{shimFile, keysFile, grubFile, bootFile, mkimage, linker, libraries} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return &LoaderError{dir, name}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// loaders are the programs that start before the kernel.
type loaders struct {
	shim, grub, keys []byte // UEFI: shim, its successor, its key manager
	boot, core       []byte // BIOS: first sector, and what it loads
}

// readLoaders reads them from the root filesystem in dir; the core for BIOSes is made with the early configuration.
func readLoaders(ctx context.Context, dir, early string) (*loaders, error) {
	if err := CheckLoaders(dir); err != nil {
		return nil, err
	}
	l := new(loaders)
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{shimFile, &l.shim}, {keysFile, &l.keys}, {grubFile, &l.grub}, {bootFile, &l.boot}} {
		var err error
		if *f.to, err = os.ReadFile(filepath.Join(dir, f.name)); err != nil {
			return nil, err
		}
	}
	var err error
	l.core, err = makeCore(ctx, dir, early)
	return l, err
}

// makeCore runs the root's grub-mkimage with the root's own libraries.
func makeCore(ctx context.Context, dir, early string) ([]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "grub-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	if err := os.WriteFile(filepath.Join(scratch, "early.cfg"), []byte(early), 0o600); err != nil {
		return nil, err
	}
	args := []string{"--library-path", filepath.Join(dir, libraries), filepath.Join(dir, mkimage), "-O", "i386-pc", "-d", filepath.Join(dir, grubDir),
		"-c", "early.cfg", "-p", "/EFI/debian", "-o", "core.img"}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, linker), append(args, grubModules...)...)
	cmd.Dir, cmd.Env = scratch, []string{"LC_ALL=C"}
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("grub-mkimage: %w: %s", err, bytes.TrimSpace(out))
	}
	return os.ReadFile(filepath.Join(scratch, "core.img"))
}
