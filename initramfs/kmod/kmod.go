// Package kmod chooses kernel modules: what a set of names needs, in which
// order to load it, and the index files a loader wants.
package kmod

import (
	"picolab/initramfs/tree"
)

// Module is a kernel module as its .modinfo section describes it.
type Module struct {
	Name     string   // with underscores, as /proc/modules has it
	Path     string   // below lib/modules/VERSION, e.g. "kernel/drivers/net/tun.ko"
	Depends  []string // names, in the order of the section
	SoftPre  []string // names or aliases to load first if they are there
	SoftPost []string // names or aliases to load afterwards if they are there
	Aliases  []string
	License  string
	Vermagic string
	Builtin  bool // part of the kernel image: nothing to load
}

// Release returns the kernel release whose modules t holds, below lib/modules
// or usr/lib/modules. It fails unless there is exactly one.
func Release(t *tree.Tree) (string, error) { panic("TODO") }

// Closure returns the modules that want (names, or globs over paths below
// kernel/ such as "drivers/net/ethernet/intel/*") and their dependencies ask
// for, in an order in which they can be loaded one by one. Modules built into
// the kernel are left out. t is the unpacked kernel package.
func Closure(t *tree.Tree, want []string) ([]Module, error) { panic("TODO") }

// Stage returns the modules of Closure(t, want) as files below prefix
// ("lib/modules" or "usr/lib/modules") /RELEASE, unpacked (.ko), with
// modules.dep, modules.alias, modules.softdep, modules.order, modules.builtin
// and modules.builtin.modinfo.
func Stage(t *tree.Tree, want []string, prefix string) (*tree.Tree, error) { panic("TODO") }
