// Package recipes holds the description of an image: which packages of which suites, which kernel and modules, which
// commands, files and limits. A recipe is data only; nothing here touches the network or builds anything.
//
// The format is YAML 1.2 without anchors, aliases, merge keys, tags or several documents; the fields are those of
// [Recipe]. Recipes named "guest" and "host" are embedded, with their locks.
//
// A recipe may extend another one, embedded or a file:
//
//	name: my-guest
//	extends: guest            # or ./base.yaml, relative to this file
//	kernel:
//	  modules: [r8169]
//
// Scalars that it sets override the base's. Lists are the base's entries followed by its own; an entry that the base
// already has is not repeated, and a suite of the same name, a file of the same path or a menu entry of the same title
// replaces the base's. Nothing can be taken away, except packages, with exclude; a kernel of a package and one of this
// machine replace each other.
package recipes

// A Recipe describes one image. The yaml tags are the whole vocabulary; an unknown field is an error.
type Recipe struct {
	Name         string      `yaml:"name"`
	Description  string      `yaml:"description"`
	Kind         string      `yaml:"kind"`         // "guest" or "host"
	Extends      string      `yaml:"extends"`      // embedded recipe, or a path relative to this file
	Architecture string      `yaml:"architecture"` // "amd64"
	Mirror       string      `yaml:"mirror"`       // optional URL of the archive, e.g. what apt has as URIs
	Suites       []Suite     `yaml:"suites"`
	Packages     []string    `yaml:"packages"` // roots of the dependency closure; Recommends are not followed
	Exclude      []string    `yaml:"exclude"`  // never taken, even when something depends on them
	Kernel       Kernel      `yaml:"kernel"`
	Commands     []string    `yaml:"commands"` // Go import paths that go into the busybox
	Init         string      `yaml:"init"`     // the command (its last path element) started as /init
	Files        []File      `yaml:"files"`
	Drop         []string    `yaml:"drop"`   // globs of files and folders of packages that stay out, "/usr/lib/grub/*/*.efi.signed"
	Boot         Boot        `yaml:"boot"`   // hosts only
	Images       []string    `yaml:"images"` // recipes of guests whose images a host carries, below /usr/share/picolab/images
	Menu         []MenuEntry `yaml:"menu"`
	Limits       Limits      `yaml:"limits"`

	origin string // what Open was asked for
	file   string // for messages
	where  places // of every node, for messages; after a merge also of the nodes from other files
}

// A Suite is one distribution of the archive, and the components taken from it.
type Suite struct {
	Name       string   `yaml:"name"`       // codename or suite, e.g. "trixie", "trixie-security"
	Path       string   `yaml:"path"`       // sibling of the mirror's last path element, e.g. "debian-security"; "" is the mirror itself
	Components []string `yaml:"components"` // e.g. ["main"]
	Mirror     string   `yaml:"mirror"`     // optional URL, overrides the recipe's for this suite
	Only       []string `yaml:"only"`       // globs of the packages taken from it, e.g. "linux-image-*" of backports; none is all
}

// A Kernel names the kernel, of a package or of this machine, and its modules that go into the image with all that they
// depend on.
type Kernel struct {
	Package     string   `yaml:"package"`  // a metapackage is followed to the package that has the kernel
	Image       Local    `yaml:"image"`    // instead of package: a bzImage
	Tree        Local    `yaml:"tree"`     // the folder with its lib/modules/RELEASE, as `make modules_install` fills it
	Modules     []string `yaml:"modules"`  // module names, or globs below kernel/ such as "drivers/net/ethernet/intel/*"
	Extra       []Local  `yaml:"extra"`    // modules built elsewhere for this kernel: a .ko, or a .deb with all its modules
	Firmware    []string `yaml:"firmware"` // packages with firmware; the files that the image's modules ask for are taken
	Load        []string `yaml:"load"`     // loaded at boot, in this order
	CommandLine []string `yaml:"command_line"`
}

// Boot is what a host has in memory until it has found its root file system: the modules that reach it and the commands
// to look around when it cannot be found. Everything else is in the root file system, a read-only file beside the kernel.
// Without modules here a host has none of its own and runs as a container only.
type Boot struct {
	Modules  []string `yaml:"modules"` // like kernel.modules
	Commands []string `yaml:"commands"`
}

// A Local is a file or folder of this machine. The lock has its digest; the recipe may have it too.
type Local struct {
	Path   string `yaml:"path"`   // absolute, or relative to the recipe's file
	SHA256 string `yaml:"sha256"` // optional; a folder's is that of its canonical archive, see recipes/local
}

// A File is written into the image after the packages; it may replace one of theirs.
type File struct {
	Path    string `yaml:"path"`    // absolute and clean
	Content string `yaml:"content"` // UTF-8
	Mode    string `yaml:"mode"`    // octal permission bits, "0644" when empty
	Link    string `yaml:"link"`    // target of a symbolic link; excludes the others
	Source  string `yaml:"source"`  // path of a file with the content, absolute or relative to the recipe's file
	SHA256  string `yaml:"sha256"`  // optional, of source
}

// A MenuEntry is one boot choice of a bootable disk; its command line is appended to the kernel's.
type MenuEntry struct {
	Title       string   `yaml:"title"`
	CommandLine []string `yaml:"command_line"`
}

// Limits are the sizes that a build must not pass. Each is a number with a unit: "20 MB" (10^6) or "20 MiB" (2^20).
type Limits struct {
	Boot  Size `yaml:"boot"`  // kernel and boot segments together
	Root  Size `yaml:"root"`  // regular files of the unpacked root filesystem
	Image Size `yaml:"image"` // kernel, boot segments and the packed root file system together
}

// Origin returns what to call the recipe on a command line: an embedded name or a path.
func (r *Recipe) Origin() string {
	if r.origin == "" {
		return r.Name
	}
	return r.origin
}
