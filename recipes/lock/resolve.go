package lock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"picolab/recipes"
	"picolab/recipes/debian"
	"picolab/recipes/fetch"
	"picolab/recipes/local"
)

// maxInRelease bounds a signed index, in bytes; Debian's has 150 kB.
const maxInRelease = 8 << 20

// Options of [Resolve].
type Options struct {
	Mirror    string          // URL of the archive; ask fetch.Mirror
	Keyring   string          // path; empty: this machine's Debian keyring, else the embedded one
	Old       *Lock           // its versions are kept while the archive has them, and its dates must not go back; may be nil
	Update    []string        // packages that take the newest version all the same
	UpdateAll bool            // all do
	Store     *fetch.Store    // where indices are kept
	Progress  *fetch.Progress // nil is silent
	Now       time.Time       // zero: the clock
}

// Resolve makes a lock for the recipe from the archive: every suite's signed index is verified, then the dependency
// closure of the recipe's packages and its kernel are chosen. The result depends on the recipe, the archive's content,
// the keyring and the old lock, on nothing else.
func Resolve(ctx context.Context, r *recipes.Recipe, o Options) (*Lock, error) {
	keyring, err := debian.OpenKeyring(o.Keyring)
	if err != nil {
		return nil, err
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	files, err := local.Add(ctx, o.Store, r)
	if err != nil {
		return nil, err
	}
	if l := o.onlyLocal(r, files); l != nil {
		return l, nil
	}
	v := &resolver{recipe: r, Options: o, keyring: keyring, index: debian.NewIndex(r.Architecture)}
	l := &Lock{
		Version: formatVersion, Recipe: r.Name, RecipeSHA256: r.ResolutionDigest(), Architecture: r.Architecture,
		Keyrings: []string{keyring.SHA256()}, Local: files,
	}
	for _, s := range r.Suites {
		suite, date, err := v.readSuite(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", s.Name, err)
		}
		l.Suites = append(l.Suites, suite)
		l.Epoch = max(l.Epoch, date.Unix())
	}
	if l.Packages, err = v.packages(); err != nil {
		return nil, err
	}
	if v.unchanged(l) {
		return o.Old, nil
	}
	return l, l.check()
}

// onlyLocal returns the old lock with other local files, when nothing else was asked for: that needs no archive.
func (o *Options) onlyLocal(r *recipes.Recipe, files []Local) *Lock {
	old := o.Old
	if old == nil || o.UpdateAll || len(o.Update) > 0 || old.Recipe != r.Name || old.RecipeSHA256 != r.ResolutionDigest() || slices.Equal(old.Local, files) {
		return nil
	}
	l := *old
	l.Local = files
	return &l
}

// unchanged tells whether a lock that was not asked to update only differs in the archive's date: then the old one
// stays, and with it every byte of the image, whose times follow that date.
func (v *resolver) unchanged(l *Lock) bool {
	old := v.Old
	return old != nil && !v.UpdateAll && len(v.Update) == 0 && old.Recipe == l.Recipe && old.RecipeSHA256 == l.RecipeSHA256 &&
		slices.Equal(old.Packages, l.Packages) && slices.Equal(old.Local, l.Local)
}

type resolver struct {
	Options
	recipe  *recipes.Recipe
	keyring *debian.Keyring
	index   *debian.Index
}

// readSuite verifies a suite's index and adds its packages.
func (v *resolver) readSuite(ctx context.Context, s recipes.Suite) (Suite, time.Time, error) {
	out := Suite{Name: s.Name, Path: s.Path, Mirror: strings.TrimRight(s.Mirror, "/")}
	base := out.Mirror
	if base == "" {
		var err error
		if base, err = fetch.Base(v.Mirror, s.Path); err != nil {
			return out, time.Time{}, err
		}
	}
	dir := base + "/dists/" + s.Name
	text, err := fetch.Get(ctx, "InRelease of "+s.Name, dir+"/InRelease", maxInRelease, v.Progress)
	if err != nil {
		return out, time.Time{}, suiteGone(err, s.Name)
	}
	release, err := v.verify(s, text)
	if err != nil {
		return out, time.Time{}, err
	}
	sum := sha256.Sum256(text)
	out.InReleaseSHA256 = hex.EncodeToString(sum[:])
	out.Date = release.Date.UTC().Format(time.RFC3339)
	if !release.ValidUntil.IsZero() {
		out.ValidUntil = release.ValidUntil.UTC().Format(time.RFC3339)
	}
	for _, component := range s.Components {
		if err := v.readComponent(ctx, s, dir, release, component); err != nil {
			return out, time.Time{}, fmt.Errorf("component %s: %w", component, err)
		}
	}
	return out, release.Date, nil
}

func suiteGone(err error, suite string) error {
	var gone *fetch.GoneError
	if errors.As(err, &gone) {
		return fmt.Errorf("%w: the mirror has no suite %s; check the suite's name and path, and the mirror", err, suite)
	}
	return err
}

func (v *resolver) verify(s recipes.Suite, text []byte) (*debian.Release, error) {
	body, err := v.keyring.Verify(text, v.Now)
	if err != nil {
		return nil, err
	}
	release, err := debian.ParseRelease(body)
	if err != nil {
		return nil, err
	}
	return release, release.Check(debian.Expect{
		Suite: s.Name, Components: s.Components, Architecture: v.recipe.Architecture, Now: v.Now, NotBefore: v.oldDate(s),
	})
}

// oldDate returns the date of the index that the old lock was made from.
func (v *resolver) oldDate(s recipes.Suite) time.Time {
	if v.Old == nil {
		return time.Time{}
	}
	for _, o := range v.Old.Suites {
		if o.Name == s.Name && o.Path == s.Path {
			date, _ := time.Parse(time.RFC3339, o.Date) // checked when the lock was read
			return date
		}
	}
	return time.Time{}
}

// readComponent reads a component's index into v.index.
func (v *resolver) readComponent(ctx context.Context, suite recipes.Suite, dir string, release *debian.Release, component string) error {
	name, packed, plain, err := release.Packages(component, v.recipe.Architecture)
	if err != nil {
		return err
	}
	item := fetch.Item{Name: suite.Name + " " + name, URL: dir + "/" + name, Size: packed.Size, SHA256: packed.SHA256}
	if err := v.fetchIndex(ctx, item, dir+"/"+debian.ByHashName(name, packed), release.ByHash); err != nil {
		return err
	}
	f, err := v.Store.Blob(packed.SHA256)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := debian.Unpack(f, plain)
	if err != nil {
		return errors.Join(err, v.Store.Verify(ctx, packed.SHA256)) // a damaged store heals itself
	}
	packages, err := debian.ParsePackages(text, v.recipe.Architecture)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(suite.Only) > 0 {
		packages = slices.DeleteFunc(packages, func(p *debian.Package) bool { return !suite.Takes(p.Name) })
	}
	return v.index.Add(suite.Name, packages)
}

// fetchIndex asks for an index by its digest where the archive offers that: under its plain name a mirror may already
// have the next one. Partial mirrors leave the digests out, so the plain name is the second try.
func (v *resolver) fetchIndex(ctx context.Context, item fetch.Item, byHash string, offered bool) error {
	plainURL := item.URL
	if offered {
		item.URL = byHash
	}
	err := v.Store.Fetch(ctx, []fetch.Item{item}, fetch.Options{Progress: v.Progress})
	var gone *fetch.GoneError
	if offered && errors.As(err, &gone) {
		item.URL = plainURL
		err = v.Store.Fetch(ctx, []fetch.Item{item}, fetch.Options{Progress: v.Progress})
	}
	return err
}

// packages chooses what goes into the lock.
func (v *resolver) packages() ([]Package, error) {
	if err := v.checkUpdate(); err != nil {
		return nil, err
	}
	keep := v.keeper()
	closure, err := v.index.Closure(debian.Request{Roots: v.recipe.Packages, Exclude: v.recipe.Exclude, Keep: keep})
	if err != nil {
		return nil, err
	}
	var out []Package
	for _, p := range closure {
		out = append(out, packageOf(p, ""))
	}
	if out, err = v.addFirmware(out, keep); err != nil {
		return nil, err
	}
	if name := v.recipe.Kernel.Package; name != "" {
		if v.updates(name) {
			keep = nil
		}
		kernel, err := v.index.Kernel(name, keep)
		if err != nil {
			return nil, err
		}
		parts, err := v.index.KernelParts(kernel)
		if err != nil {
			return nil, err
		}
		for _, p := range append(parts, kernel) {
			out = append(out, packageOf(p, RoleKernel))
		}
	}
	sortPackages(out)
	return out, nil
}

// addFirmware takes the packages of firmware by themselves: what they depend on are scripts that never run.
func (v *resolver) addFirmware(out []Package, keep func(*debian.Package) bool) ([]Package, error) {
	for i, name := range v.recipe.Kernel.Firmware {
		list := v.index.Candidates(name)
		if len(list) == 0 {
			return nil, v.recipe.Fault(fmt.Sprintf("kernel.firmware[%d]", i), "no suite has a package %s; Debian keeps most firmware in the component non-free-firmware", name)
		}
		p := list[0]
		if at := slices.IndexFunc(list, keep); at >= 0 {
			p = list[at]
		}
		out = append(out, packageOf(p, RoleFirmware))
	}
	return out, nil
}

// keeper tells which packages the old lock pins.
func (v *resolver) keeper() func(*debian.Package) bool {
	type key struct{ name, version, sha256 string }
	pinned := map[key]bool{}
	if v.Old != nil {
		for _, p := range v.Old.Packages {
			if !v.updates(p.Name) {
				pinned[key{p.Name, p.Version, p.SHA256}] = true
			}
		}
	}
	return func(p *debian.Package) bool { return pinned[key{p.Name, p.Version, p.SHA256}] }
}

func (v *resolver) updates(name string) bool {
	return v.UpdateAll || slices.Contains(v.Update, name)
}

// checkUpdate catches typing errors: a name that nobody knows would update nothing, in silence.
func (v *resolver) checkUpdate() error {
	for _, name := range v.Update {
		if len(v.index.Candidates(name)) == 0 {
			return fmt.Errorf("update %s: no suite has a package of this name", name)
		}
	}
	return nil
}

// packageOf copies the strings: they are slices of an index of fifty megabytes.
func packageOf(p *debian.Package, role string) Package {
	c := strings.Clone
	return Package{
		Name: c(p.Name), Version: c(p.Version), Architecture: c(p.Architecture), Suite: p.Suite, Filename: c(p.Filename),
		Size: p.Size, SHA256: c(p.SHA256), Source: c(p.Source), Role: role,
	}
}
