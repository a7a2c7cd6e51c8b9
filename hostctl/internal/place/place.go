// Package place knows where things are on this machine and how a sandbox sees them: the images, the cache that all labs of
// one user share, and the folder of running labs.
package place

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"picolab/hostctl/internal/sandbox"
	"picolab/images/manifest"
)

// What a sandbox sees.
const (
	InsideImages = "/run/lab/images" // read-only
	InsideCache  = "/run/lab/cache"
	InsideOut    = "/run/lab/out" // bound by verbs that leave evidence

	// InsideOwn is the root of a folder lib/modules, where the kernel is the lab's own; see OwnModules.
	InsideOwn = "/run/lab/own"
)

// What a host image that runs as a machine of its own has, be it a VM or a PC.
const (
	ApplianceRoot   = "/run/picolab/root" // its root file system, as it is in the image: read-only
	applianceImages = ApplianceRoot + "/usr/share/picolab/images"
)

// DefaultImages is where `make` leaves the images.
const DefaultImages = "build/images"

// A Place is one user's folders, absolute.
type Place struct {
	Images string // holds the images "guest" and "host"
	Cache  string // made
}

// ErrNoHost is the error of a machine without a usable host image.
var ErrNoHost = errors.New("no host image to run QEMU from (build it: labimage build host -o DIR/host)")

// New resolves the folders. The images come from the argument, else from $PICOLAB_IMAGES, else from build/images, else
// those that an appliance carries; the cache from $PICOLAB_CACHE, else from the user's cache folder.
func New(images string) (Place, error) {
	if images == "" {
		images = os.Getenv("PICOLAB_IMAGES")
	}
	if images == "" {
		images = defaultImages(applianceImages)
	}
	dir, err := filepath.Abs(images)
	if err != nil {
		return Place{}, fmt.Errorf("find images: %w", err)
	}
	cache := filepath.Join(cacheDir(), "lab")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return Place{}, fmt.Errorf("make cache folder: %w", err)
	}
	return Place{Images: dir, Cache: cache}, nil
}

func defaultImages(appliance string) string {
	if _, err := os.Stat(DefaultImages); err == nil {
		return DefaultImages
	}
	if _, err := os.Stat(appliance); err == nil {
		return appliance
	}
	return DefaultImages
}

// cacheDir falls back to a private folder for users without a home.
func cacheDir() string {
	if dir := os.Getenv("PICOLAB_CACHE"); dir != "" {
		return dir
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "picolab")
	}
	return private("picolab")
}

// RunDir is the folder of running labs: $PICOLAB_RUN, else $XDG_RUNTIME_DIR/picolab, else /run/picolab for root, else a
// private folder under the temporary one.
func RunDir() string {
	if dir := os.Getenv("PICOLAB_RUN"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "picolab")
	}
	if os.Geteuid() == 0 {
		return "/run/picolab"
	}
	return private("picolab-run")
}

func private(name string) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d", name, os.Geteuid()))
}

// HostRoot is the root file system that labs run in: the host image's, or in an appliance its own. The error wraps
// ErrNoHost.
func (p Place) HostRoot() (string, error) {
	m, err := manifest.Read(filepath.Join(p.Images, "host"))
	if err != nil && usable(ApplianceRoot) == nil {
		return ApplianceRoot, nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	root := m.Root()
	if root == "" {
		return "", fmt.Errorf("%w: %s has no root file system", ErrNoHost, filepath.Join(p.Images, "host"))
	}
	if err := usable(root); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoHost, err)
	}
	return root, nil
}

// usable says whether a root file system has QEMU.
func usable(root string) error {
	_, err := os.Stat(filepath.Join(root, "usr/bin/qemu-system-x86_64"))
	return err
}

// OwnModules gives a sandbox leave to load the modules of this machine's kernel, if the machine is nobody's but the lab's:
// one that was started from a host image. Elsewhere it changes nothing.
func OwnModules(s sandbox.Spec) sandbox.Spec {
	return ownModules(s, ApplianceRoot, "/")
}

func ownModules(s sandbox.Spec, appliance, root string) sandbox.Spec {
	if _, err := os.Stat(appliance); err != nil {
		return s
	}
	for _, dir := range []string{"lib/modules", "usr/lib/modules"} {
		path := filepath.Join(root, dir)
		if _, err := os.Stat(path); err == nil {
			s.Modules = true
			s.Binds = append(s.Binds, sandbox.Bind{Source: path, Target: filepath.Join(InsideOwn, "lib/modules"), ReadOnly: true})
			return s
		}
	}
	return s
}

// Bootable says what a host image lacks to run as a VM; the error wraps ErrNoHost.
func Bootable(m *manifest.Manifest) error {
	if m.Kernel() == "" || len(m.Segments()) == 0 || m.RootFile() == "" {
		return fmt.Errorf("%w: %s has no kernel, segments and root file to boot from", ErrNoHost, m.Dir())
	}
	return nil
}

// Sandbox describes a sandbox on the host image that runs entry with payload encoded as JSON, and sees images and cache.
func (p Place) Sandbox(entry string, payload any, binds ...sandbox.Bind) (sandbox.Spec, error) {
	root, err := p.HostRoot()
	if err != nil {
		return sandbox.Spec{}, err
	}
	data, err := json.Marshal(payload)
	if err != nil {
		return sandbox.Spec{}, fmt.Errorf("encode payload of %s: %w", entry, err)
	}
	all := []sandbox.Bind{
		{Source: p.Images, Target: InsideImages, ReadOnly: true},
		{Source: p.Cache, Target: InsideCache},
	}
	return sandbox.Spec{Root: root, Entry: entry, Payload: data, Binds: append(all, binds...)}, nil
}
