package lint

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"picolab/initramfs/deb"
	"picolab/initramfs/tree"
	"picolab/recipes"
	"picolab/recipes/debian"
	"picolab/recipes/lock"
)

// goodShim is the first version that is signed by both of Microsoft's authorities: machines of 2026 and later may know
// only the second.
const goodShim = "16.1-2"

// shim looks at the version that shim-signed was made of: the part behind the last plus, without Debian's rebuilds.
func (l *linter) shim() {
	for _, p := range l.packages {
		if p.Name != "shim-signed" {
			continue
		}
		version := p.Version[strings.LastIndexByte(p.Version, '+')+1:]
		version, _, _ = strings.Cut(version, "~")
		if debian.Compare(version, goodShim) < 0 {
			l.add(Warning, "shim", listNode("packages", l.Recipe.Packages, p.Name),
				"shim-signed %s has shim %s: before %s it is signed by Microsoft's authority of 2011 alone, and new machines may refuse it; run: labimage lock %s --update shim-signed",
				p.Version, version, goodShim, l.Recipe.Origin())
		}
	}
}

// listNode is the place of an entry, or of its list.
func listNode(node string, list []string, entry string) string {
	if i := slices.Index(list, entry); i >= 0 {
		return fmt.Sprintf("%s[%d]", node, i)
	}
	return node
}

// collisions looks for files that have two owners.
func (l *linter) collisions() {
	root := tree.New()
	for i, t := range l.trees {
		if l.packages[i].Role != "" {
			continue
		}
		var conflict *tree.ConflictError
		if err := root.Merge(t); errors.As(err, &conflict) {
			l.add(Error, "file", listNode("packages", l.Recipe.Packages, l.packages[i].Name), "%v", conflict)
		}
	}
	for i, f := range l.Recipe.Files {
		e, ok := root.Get(usrMerged(f.Path))
		if !ok {
			continue
		}
		node := fmt.Sprintf("files[%d]", i)
		if e.IsDir() {
			l.add(Error, "file", node, "file %s is a folder of package %s", f.Path, e.Source)
			continue
		}
		l.add(Warning, "file", node, "file %s replaces that of package %s", f.Path, e.Source)
	}
}

// usrMerged is where packages have a path that goes through one of the links of merged /usr.
func usrMerged(name string) string {
	name = strings.TrimPrefix(name, "/")
	for _, dir := range []string{"bin/", "sbin/", "lib/", "lib64/"} {
		if strings.HasPrefix(name, dir) {
			return "usr/" + name
		}
	}
	return name
}

// excludes looks for packages that nothing would bring.
func (l *linter) excludes() error {
	if len(l.Recipe.Exclude) == 0 {
		return nil
	}
	wanted, err := l.dependencies()
	if err != nil {
		return err
	}
	for i, name := range l.Recipe.Exclude {
		if !wanted[name] {
			l.add(Warning, "exclude", fmt.Sprintf("exclude[%d]", i), "no package of the lock depends on %s; remove it from exclude", name)
		}
	}
	return nil
}

// drops looks for patterns that keep nothing out.
func (l *linter) drops() {
	idle := map[int]*recipes.Recipe{} // a recipe for each pattern that has kept nothing out so far
	for i, glob := range l.Recipe.Drop {
		idle[i] = &recipes.Recipe{Drop: []string{glob}}
	}
	for i, t := range l.trees {
		if l.packages[i].Role != "" || len(idle) == 0 {
			continue
		}
		for name := range t.All() {
			maps.DeleteFunc(idle, func(_ int, r *recipes.Recipe) bool { return r.Drops(name) })
		}
	}
	for i := range idle {
		l.add(Warning, "drop", fmt.Sprintf("drop[%d]", i), "no package of the lock has %s; remove it from drop", l.Recipe.Drop[i])
	}
}

// dependencies are the names in Depends and Pre-Depends of all packages, alternatives included.
func (l *linter) dependencies() (map[string]bool, error) {
	wanted := map[string]bool{}
	for _, p := range l.Lock.Packages {
		if p.Role != "" {
			continue
		}
		if err := l.addDependencies(wanted, p); err != nil {
			return nil, fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
		}
	}
	return wanted, nil
}

func (l *linter) addDependencies(wanted map[string]bool, p lock.Package) error {
	f, err := l.Options.Store.Blob(p.SHA256)
	if err != nil {
		return err
	}
	defer f.Close()
	fields, err := deb.Fields(io.NewSectionReader(f, 0, p.Size), p.Size)
	if err != nil {
		return err
	}
	for _, field := range []string{"depends", "pre-depends"} {
		relations, err := debian.ParseRelation(fields[field])
		if err != nil {
			return err
		}
		for _, d := range relations {
			for _, alternative := range d {
				wanted[alternative.Name] = true
			}
		}
	}
	return nil
}

func moduleName(p string) (string, bool) {
	name, _, ok := strings.Cut(path.Base(p), ".ko")
	return strings.ReplaceAll(name, "-", "_"), ok
}
