// Package site is what a user adds to an appliance without building it anew: the folder /picolab/site on the FAT volume
// the appliance was started from.
//
//	authorized_keys        who may log in over SSH, as root; without it no sshd runs, unless the recipe asks for one
//	ssh_host_ed25519_key   the SSH host key; without it one is made at every boot
//	network.yaml           addresses, DHCP, VLANs, host name, name servers, Debian mirror (Network)
//	files/                 a tree that is copied over the root file system, which is in RAM
//	recipes/               extra recipes, found as /etc/picolab/recipes
//	autorun                a selection of the catalogue to run at boot (Autorun)
//
// Nothing in it can prevent a boot: what is wrong is told on the console, with line and column, and left out. Results of
// runs land beside it, in /picolab/results/NNN.
//
// An image with a site folder is another image than the one that was built, so the id it goes by ends with the folder's
// digest: see Image.
package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"picolab/guestagent/internal/child"
	"picolab/guestagent/module"
)

// Where things are on the stick.
const (
	Folder   = "picolab/site"
	Results  = "picolab/results"
	manifest = "picolab/manifest.json"
)

// ImageFile is where a running appliance says which image it is, below the root. hostctl puts it into its reports.
const ImageFile = "run/picolab/image"

// Options say what the folder is applied to.
type Options struct {
	Stick string // mount point of the FAT volume, mounted read-only; "" when there is none
	Root  string // "" = "/"; tests have another
	Image string // id of the image as built; "" = what the manifest on the stick says
	Run   string // kernel argument picolab.run: "quick" runs the quick catalogue, "off" ignores the stick's autorun
	Off   bool   // kernel argument picolab.site=off: as if there were no folder

	Children *child.Reaper // PID 1's; nil: children are waited for one by one
	Modules  *module.Set   // for VLANs; nil: what the kernel has
	Console  io.Writer     // where runs show their output; nil = standard error
	Logf     func(format string, args ...any)
	// Power carries out "off" when autorun asks for it; nil: never.
	Power func(ctx context.Context, action string) error

	remount func(path string, writable bool) error // tests have no FAT volume
}

// Site is the folder as it was when the appliance started.
type Site struct {
	o       Options
	folder  string // "" when there is none, or one without files
	digest  string // of the folder, hex
	image   string
	network Network
	autorun *Autorun
	saving  sync.Mutex
}

// Open reads the folder. It always returns a Site: what is wrong with the folder has been told to Logf.
func Open(o Options) *Site {
	o = o.withDefaults()
	s := &Site{o: o}
	if err := s.read(); err != nil {
		o.Logf("site folder: %v", err)
	}
	s.image = imageID(o)
	if s.digest != "" {
		s.image += "+dirty." + s.digest[:12]
		o.Logf("site folder %s is used: this is image %s", filepath.Join(o.Stick, Folder), s.image)
	}
	return s
}

func (o Options) withDefaults() Options {
	if o.Root == "" {
		o.Root = "/"
	}
	if o.Children == nil {
		o.Children = new(child.Reaper)
	}
	if o.Console == nil {
		o.Console = os.Stderr
	}
	if o.remount == nil {
		o.remount = remount
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return o
}

// read takes in what must be known before anything is applied.
func (s *Site) read() error {
	dir := folder(s.o)
	if dir == "" {
		return nil
	}
	var err error
	if s.digest, err = Digest(dir); err != nil {
		return fmt.Errorf("left out, it cannot be read: %w", err)
	}
	if s.digest == "" {
		return nil
	}
	s.folder = dir
	return errors.Join(
		load(dir, "network.yaml", func(data []byte) (err error) { s.network, err = ParseNetwork(data); return err }),
		load(dir, "autorun", func(data []byte) (err error) { s.autorun, err = ParseAutorun(data); return err }),
	)
}

// folder is where the folder is, "" when there is none.
func folder(o Options) string {
	if o.Stick == "" || o.Off {
		return ""
	}
	dir := filepath.Join(o.Stick, Folder)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

// load parses a file of the folder; one that is not there is no error.
func load(dir, name string, parse func([]byte) error) error {
	data, err := readSmall(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = parse(data)
	}
	return err
}

// maxText is the most that a text of the folder may have, bytes.
const maxText = 1 << 20

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxText {
		return nil, fmt.Errorf("%s is no file of at most %d bytes", path, maxText)
	}
	return os.ReadFile(path)
}

// imageID is the id of the image as it was built; "unknown" when nobody says.
func imageID(o Options) string {
	if o.Image != "" {
		return o.Image
	}
	var m struct {
		ID string `json:"id"`
	}
	data, err := os.ReadFile(filepath.Join(o.Stick, manifest))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil || m.ID == "" {
		return "unknown"
	}
	return m.ID
}

// Image is what the agent calls the image: the id it was built with, and "+dirty." with the first 12 hex digits of the
// folder's digest when there is a folder.
func (s *Site) Image() string { return s.image }

// Dirty says whether there is a folder.
func (s *Site) Dirty() bool { return s.digest != "" }

// Hostname is what network.yaml asks for, else "".
func (s *Site) Hostname() string { return s.network.Hostname }

// Apply copies what the folder has to its places. It takes no longer than the copying; call it before anybody logs in.
func (s *Site) Apply() {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"files", s.copyFiles}, {"recipes", s.copyRecipes}, {"authorized_keys", s.installKeys}, {"network.yaml", s.applyNames},
		{"image id", func() error { return s.write(ImageFile, 0o644, []byte(s.image+"\n")) }},
	} {
		if err := step.do(); err != nil {
			s.o.Logf("site folder: %s: %v", step.what, err)
		}
	}
}

// Work keeps the network and sshd going and runs what autorun asks for, until ctx ends. Call it when drivers are loaded.
func (s *Site) Work(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.serveNetwork(ctx) })
	work.Go(func() { s.serveSSH(ctx) })
	work.Go(func() { s.run(ctx) })
}

// path is a file of the root file system.
func (s *Site) path(name string) string { return filepath.Join(s.o.Root, name) }

// write replaces a file of the root file system at once: whoever reads it sees the old or the new content.
func (s *Site) write(name string, mode fs.FileMode, data []byte) error {
	path := s.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	next := path + ".new"
	err := os.WriteFile(next, data, mode)
	if err == nil {
		err = os.Chmod(next, mode) // whatever the umask is
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next)
	}
	return err
}
