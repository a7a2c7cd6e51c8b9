package recipes

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
)

// The shapes of names. Packages and versions: Debian policy 5.6.1; suites and components are path elements of the
// archive; modules are file names without .ko.
var (
	nameShape      = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
	packageShape   = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	suiteShape     = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	componentShape = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	moduleShape    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	globShape      = regexp.MustCompile(`^[A-Za-z0-9*?\[\]][A-Za-z0-9_/*?\[\].+-]*$`)
	onlyShape      = regexp.MustCompile(`^[a-z0-9*?][a-z0-9+.*?-]*$`)
	digestShape    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	argumentShape  = regexp.MustCompile(`^[!#-~]+$`) // printable, no blank, no double quote
)

// Validate checks a recipe after extends has been resolved. It returns the first fault, as *Error.
func (r *Recipe) Validate() error {
	for _, check := range []func() error{
		r.checkHead, r.checkSuites, r.checkPackages, r.checkKernel, r.checkLocals, r.checkCommands, r.checkBoot, r.checkDrop, r.checkFiles, r.checkMenu, r.checkLimits,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// fault makes an error that points at a node, or at the file when the node is absent.
func (r *Recipe) fault(node, format string, args ...any) *Error {
	at, ok := r.where[node]
	message := fmt.Sprintf(format, args...)
	if !ok {
		return &Error{File: r.file, Message: message}
	}
	return &Error{File: at.file, Line: at.line, Column: at.column, Message: message, Excerpt: at.excerpt}
}

func (r *Recipe) checkHead() error {
	switch {
	case r.Name == "":
		return r.fault("name", "the recipe has no name; add name: something")
	case !nameShape.MatchString(r.Name) || len(r.Name) > 64:
		return r.fault("name", "name %q: use up to 64 of a-z 0-9 . _ -", r.Name)
	case r.Kind != "guest" && r.Kind != "host":
		return r.fault("kind", "kind %q: it is guest or host", r.Kind)
	case r.Architecture != "amd64":
		return r.fault("architecture", "architecture %q: only amd64 is supported", r.Architecture)
	}
	return r.checkMirror("mirror", r.Mirror)
}

func (r *Recipe) checkMirror(node, mirror string) error {
	if mirror == "" {
		return nil
	}
	u, err := url.Parse(mirror)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return r.fault(node, "mirror %q: use an http or https URL without user, query and fragment", mirror)
	}
	return nil
}

func (r *Recipe) checkSuites() error {
	if len(r.Suites) == 0 {
		return r.fault("suites", "the recipe has no suites; add suites: [{name: trixie, components: [main]}]")
	}
	var names []string
	for i, s := range r.Suites {
		node := fmt.Sprintf("suites[%d]", i)
		if !suiteShape.MatchString(s.Name) {
			return r.fault(node+".name", "suite name %q: use a codename or suite such as trixie or trixie-updates", s.Name)
		}
		if slices.Contains(names, s.Name) {
			return r.fault(node, "suite %s is listed twice; put its components into one entry", s.Name)
		}
		names = append(names, s.Name)
		if s.Path != "" && !nameShape.MatchString(s.Path) {
			return r.fault(node+".path", "suite path %q: use one path element such as debian-security", s.Path)
		}
		if err := r.checkMirror(node+".mirror", s.Mirror); err != nil {
			return err
		}
		if len(s.Components) == 0 {
			return r.fault(node, "suite %s has no components; add components: [main]", s.Name)
		}
		if err := r.checkNames(node+".components", "component", s.Components, componentShape); err != nil {
			return err
		}
		if err := r.checkNames(node+".only", "package pattern", s.Only, onlyShape); err != nil {
			return err
		}
	}
	return nil
}

// checkNames checks the shape of each entry, and that none comes twice.
func (r *Recipe) checkNames(node, what string, list []string, shape *regexp.Regexp) error {
	seen := make(map[string]bool, len(list))
	for i, entry := range list {
		at := fmt.Sprintf("%s[%d]", node, i)
		if !shape.MatchString(entry) || len(entry) > 256 {
			return r.fault(at, "%s %q: not a valid name", what, entry)
		}
		if seen[entry] {
			return r.fault(at, "%s %s is listed twice; remove one", what, entry)
		}
		seen[entry] = true
	}
	return nil
}

func (r *Recipe) checkPackages() error {
	if err := r.checkNames("packages", "package", r.Packages, packageShape); err != nil {
		return err
	}
	if err := r.checkNames("exclude", "package", r.Exclude, packageShape); err != nil {
		return err
	}
	for i, p := range r.Exclude {
		if slices.Contains(r.Packages, p) {
			return r.fault(fmt.Sprintf("exclude[%d]", i), "package %s is both in packages and in exclude; remove one", p)
		}
	}
	return nil
}

func (r *Recipe) checkKernel() error {
	k := r.Kernel
	switch {
	case k.Package != "" && k.Image.Path != "":
		return r.fault("kernel.image", "both kernel.package and kernel.image; keep one")
	case k.Tree.Path != "" && k.Image.Path == "":
		return r.fault("kernel.tree", "kernel.tree goes with kernel.image; add that, or use kernel.extra for single modules")
	case !r.HasKernel() && r.Kind == "guest":
		return r.fault("kernel", "a guest needs a kernel; add kernel: {package: linux-image-amd64}")
	case !r.HasKernel() && len(k.Modules)+len(k.Load)+len(k.Extra)+len(k.Firmware) > 0:
		return r.fault("kernel", "kernel modules without kernel.package")
	case k.Image.Path != "" && k.Tree.Path == "" && len(k.Modules)+len(k.Load)+len(k.Extra) > 0:
		return r.fault("kernel.image", "modules need kernel.tree: the folder with lib/modules/RELEASE of this kernel")
	case k.Package != "" && !packageShape.MatchString(k.Package):
		return r.fault("kernel.package", "kernel.package %q: not a valid package name", k.Package)
	}
	if err := r.checkNames("kernel.firmware", "package", k.Firmware, packageShape); err != nil {
		return err
	}
	if err := r.checkNames("kernel.modules", "module", k.Modules, globShape); err != nil {
		return err
	}
	for i, m := range k.Modules {
		if _, err := path.Match(m, ""); err != nil || slices.Contains(strings.Split(m, "/"), "..") {
			return r.fault(fmt.Sprintf("kernel.modules[%d]", i), "module %q: not a name and not a glob below kernel/", m)
		}
	}
	if err := r.checkNames("kernel.load", "module", k.Load, moduleShape); err != nil {
		return err
	}
	return r.checkNames("kernel.command_line", "kernel argument", k.CommandLine, argumentShape)
}

func (r *Recipe) checkCommands() error {
	names := make(map[string]string, len(r.Commands))
	for i, c := range r.Commands {
		node := fmt.Sprintf("commands[%d]", i)
		if err := module.CheckImportPath(c); err != nil {
			return r.fault(node, "command %q: not a Go import path", c)
		}
		if other, taken := names[path.Base(c)]; taken {
			return r.fault(node, "commands %s and %s have the same name %s; keep one", other, c, path.Base(c))
		}
		names[path.Base(c)] = c
	}
	if _, ok := names[r.Init]; r.Init != "" && !ok {
		return r.fault("init", "init %q is not the last element of any entry of commands", r.Init)
	}
	if r.Init == "" && r.Kind == "guest" {
		return r.fault("init", "a guest needs init: the name of one of its commands")
	}
	return nil
}

func (r *Recipe) checkFiles() error {
	paths := make(map[string]bool, len(r.Files))
	for i, f := range r.Files {
		node := fmt.Sprintf("files[%d]", i)
		if err := f.check(); err != nil {
			return r.fault(node, "file %q: %v", f.Path, err)
		}
		if paths[f.Path] {
			return r.fault(node, "file %s is listed twice; remove one", f.Path)
		}
		paths[f.Path] = true
	}
	for i, f := range r.Files {
		for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
			if paths[dir] {
				return r.fault(fmt.Sprintf("files[%d]", i), "file %s is below %s, which is itself a file or link", f.Path, dir)
			}
		}
	}
	return nil
}

func (f File) check() error {
	switch {
	case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/":
		return errors.New("the path must be absolute and without ., .., // and a slash at the end")
	case strings.ContainsFunc(f.Path+f.Link, func(c rune) bool { return c < ' ' || c == 0x7f }) || len(f.Path) > 4095:
		return errors.New("control character in the path, or it is too long")
	case f.Link != "" && (f.Content != "" || f.Mode != "" || f.Source != ""):
		return errors.New("a link has neither content nor mode nor source")
	case f.Source != "" && f.Content != "":
		return errors.New("both content and source; keep one")
	case f.SHA256 != "" && f.Source == "":
		return errors.New("sha256 goes with source")
	}
	_, err := f.Perm()
	return err
}

// Perm returns the permission bits, 0644 when the recipe names none. Set-user-ID and the like are refused.
func (f File) Perm() (uint32, error) {
	if f.Mode == "" {
		return 0o644, nil
	}
	mode, err := strconv.ParseUint(strings.TrimPrefix(f.Mode, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("mode %q: use octal permission bits from 0000 to 0777, in quotes", f.Mode)
	}
	return uint32(mode), nil
}

func (r *Recipe) checkMenu() error {
	seen := make(map[string]bool, len(r.Menu))
	for i, e := range r.Menu {
		node := fmt.Sprintf("menu[%d]", i)
		if e.Title == "" || len(e.Title) > 80 || strings.ContainsFunc(e.Title, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\'' || c == '$' || c == '\\' }) {
			return r.fault(node, "menu title %q: use 1 to 80 printable ASCII characters without quotes, $ and \\", e.Title)
		}
		if seen[e.Title] {
			return r.fault(node, "menu title %q is listed twice; rename one", e.Title)
		}
		seen[e.Title] = true
		if err := r.checkNames(node+".command_line", "kernel argument", e.CommandLine, argumentShape); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recipe) checkLimits() error {
	if _, err := r.Limits.Boot.Bytes(); err != nil {
		return r.fault("limits.boot", "%v", err)
	}
	if _, err := r.Limits.Root.Bytes(); err != nil {
		return r.fault("limits.root", "%v", err)
	}
	if _, err := r.Limits.Image.Bytes(); err != nil {
		return r.fault("limits.image", "%v", err)
	}
	return nil
}
