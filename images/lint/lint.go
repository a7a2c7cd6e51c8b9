// Package lint looks for what is probably wrong with a recipe before an image of it is built or booted. Each finding has
// a place in the recipe's text, a severity and the name of its rule:
//
//	lock       error    the lock is missing or was made for something else
//	module     error    a module, or what it needs, is not in the kernel
//	size       error    what boots passes limits.boot, or the EFI system partition would be larger than FAT32 takes;
//	           warning  kernel and modules alone take more than four fifths of limits.boot
//	shim       warning  shim is older than 16.1-2, the first that both of Microsoft's authorities signed
//	nic        error    the kernel has a driver for a network card of the machine, the image does not
//	           warning  the kernel has no driver either
//	suite      warning  the suite is not one of Debian's, is no longer supported, or its name moves from release to release
//	exclude    warning  no package of the lock depends on it: a typing error, or no longer needed
//	drop       warning  no package of the lock has such a file: a typing error, or no longer needed
//	file       error    two packages have one file with different contents
//	           warning  a file of the recipe replaces one of a package
//	unsigned   warning  a module has no signature: it does not load under Secure Boot
//
// Network cards come from `lspci -n` of the machine.
package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"picolab/initramfs"
	"picolab/initramfs/kmod"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/lock"
)

// Severities.
const (
	Error   = "error"
	Warning = "warning"
)

// Finding is one thing that is probably wrong.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"` // from 1; 0 when the recipe lacks something
	Column   int    `json:"column,omitempty"`
	Severity string `json:"severity"`
	Rule     string `json:"rule"`
	Message  string `json:"message"`
}

// String is the finding as compilers write theirs.
func (f Finding) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
	}
	return fmt.Sprintf("%s: %s: %s [%s]", at, f.Severity, f.Message, f.Rule)
}

// Input is what is looked at.
type Input struct {
	Recipe  *recipes.Recipe
	Lock    *lock.Lock        // nil: only the recipe itself is looked at
	Options initramfs.Options // the store holds every package of the lock
	Cards   []Card            // of the machine
}

// linter gathers findings.
type linter struct {
	Input
	out      []Finding
	trees    []*tree.Tree // of the lock's packages
	packages []initramfs.Package
	kernel   *initramfs.Kernel
	modules  []kmod.Module // of the image
}

// Check applies every rule. The error is that of a package that cannot be read; what a recipe has wrong is a finding.
func Check(ctx context.Context, in Input) ([]Finding, error) {
	l := &linter{Input: in}
	l.suites()
	if in.Lock != nil {
		if err := l.locked(ctx); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(l.out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.out, nil
}

// locked applies the rules that look into packages.
func (l *linter) locked(ctx context.Context) (err error) {
	if l.trees, l.packages, err = initramfs.Unpack(ctx, l.Lock, l.Options); err != nil {
		return err
	}
	l.shim()
	l.collisions()
	l.drops()
	if err := l.excludes(); err != nil {
		return err
	}
	kernel := tree.New()
	for i, p := range l.packages {
		if p.Role != lock.RoleKernel {
			continue
		}
		if err := kernel.Merge(l.trees[i]); err != nil {
			return err
		}
	}
	if l.kernel, err = initramfs.OpenKernel(ctx, l.Recipe, l.Lock, kernel, l.Options); err != nil {
		return l.fault("module", "kernel", err)
	}
	for _, rule := range []func(context.Context) error{l.closure, l.sizes, l.cards, l.signatures} {
		if err := rule(ctx); err != nil {
			return err
		}
	}
	return nil
}

// add notes a finding at a node of the recipe.
func (l *linter) add(severity, rule, node, format string, args ...any) {
	l.place(severity, rule, l.Recipe.Fault(node, format, args...))
}

func (l *linter) place(severity, rule string, at *recipes.Error) {
	l.out = append(l.out, Finding{at.File, at.Line, at.Column, severity, rule, at.Message})
}

// fault makes a finding of an error of the recipe's making, which has a place of its own or that of a node.
func (l *linter) fault(rule, node string, err error) error {
	var at *recipes.Error
	if !errors.As(err, &at) {
		at = l.Recipe.Fault(node, "%v", err)
	}
	l.place(Error, rule, at)
	return nil
}
