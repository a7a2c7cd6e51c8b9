package assemble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/local"
	"picolab/recipes/lock"
)

// Source says which recipe and lock to build from and where packages come from.
type Source struct {
	Recipe       string // embedded name or path
	Lock         string // path; "" is the recipe's own
	Mirror       string // URL; "" lets fetch.Mirror find one
	Offline      bool   // never use the network
	Jobs         int    // downloads at a time, 0 is the default
	RefreshStale bool   // make a new lock when the mirror has dropped a package of this one
	Scratch      string // directory for that lock
	Keyring      string // that verifies the archive then; "" is Debian's
	Progress     *fetch.Progress
	Warn         func(format string, args ...any) // told what a person must not miss
}

// OfflineError says that packages are missing and the network is not to be used.
type OfflineError struct {
	Missing []string // "name version"
	Store   string
}

func (e *OfflineError) Error() string {
	names := e.Missing[:min(len(e.Missing), 5)]
	more := ""
	if n := len(e.Missing) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("offline, and %s%s not in the store %s: build once without --offline, or give a filled store with --cache",
		strings.Join(names, ", "), more, e.Store)
}

// Prepare reads recipe and lock, checks that they belong together, and brings every package into the store. A lock
// whose packages the mirror no longer has is a *fetch.GoneError, unless RefreshStale is set.
func Prepare(ctx context.Context, store *fetch.Store, s Source) (*recipes.Recipe, *lock.Lock, error) {
	r, err := recipes.Open(s.Recipe)
	if err != nil {
		return nil, nil, err
	}
	l, err := s.openLock(r)
	if err != nil {
		return nil, nil, err
	}
	p := &preparation{Source: s, store: store, recipe: r, lock: l}
	if err := p.run(ctx); err != nil {
		return nil, nil, err
	}
	return r, p.lock, nil
}

func (s *Source) openLock(r *recipes.Recipe) (*lock.Lock, error) {
	if s.Lock == "" {
		return lock.Open(s.Recipe, r)
	}
	return ReadLock(s.Lock, r)
}

// ReadLock reads a lock file and checks that it was made for r.
func ReadLock(path string, r *recipes.Recipe) (*lock.Lock, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	l, err := lock.Read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read lock %s: %w", path, err)
	}
	if err := l.Matches(r); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

// preparation is a Prepare under way.
type preparation struct {
	Source
	store  *fetch.Store
	recipe *recipes.Recipe
	lock   *lock.Lock
}

func (p *preparation) run(ctx context.Context) error {
	if p.RefreshStale {
		p.useRefreshed()
	}
	if err := local.Check(ctx, p.store, p.recipe, p.lock.Local); err != nil {
		return err
	}
	err := p.fetch(ctx)
	var gone *fetch.GoneError
	if !errors.As(err, &gone) {
		return err
	}
	if !p.RefreshStale {
		return fmt.Errorf("%w\nThe lock names a version that the archive has replaced. Either\n"+
			"  give a mirror that still has it, such as a snapshot:  --mirror URL\n"+
			"  renew the lock, for all packages or some:             labimage lock %s --update\n"+
			"  or build once from a renewed copy of the lock:        --refresh-stale", err, p.Recipe)
	}
	return p.refresh(ctx, gone)
}

// fetch downloads what the store lacks; with nothing lacking it needs neither network nor mirror.
func (p *preparation) fetch(ctx context.Context) error {
	missing := p.missing()
	if len(missing) == 0 {
		return nil
	}
	if p.Offline {
		return &OfflineError{missing, p.store.Path()}
	}
	mirror, err := fetch.Mirror(p.Mirror, p.recipe.Mirror)
	if err != nil {
		return err
	}
	items, err := p.lock.Items(mirror)
	if err != nil {
		return err
	}
	return p.store.Fetch(ctx, items, fetch.Options{Jobs: p.Jobs, Progress: p.Progress})
}

func (p *preparation) missing() []string {
	var names []string
	for _, pkg := range p.lock.Packages {
		if !p.store.Has(pkg.SHA256, pkg.Size) {
			names = append(names, pkg.Name+" "+pkg.Version)
		}
	}
	return names
}

// RefreshedLock is where the renewed copy of a recipe's lock is: it belongs to that lock alone.
func RefreshedLock(scratch string, r *recipes.Recipe, of *lock.Lock) string {
	return filepath.Join(scratch, fmt.Sprintf(".%s.refreshed-%.12s.lock", r.Name, of.Digest()))
}

// useRefreshed takes the copy that an earlier build renewed, if there is one.
func (p *preparation) useRefreshed() {
	path := RefreshedLock(p.Scratch, p.recipe, p.lock)
	l, err := ReadLock(path, p.recipe)
	if err != nil {
		return // none, or of another recipe: the lock itself decides
	}
	p.warn("WARNING: %s: the mirror no longer has all packages of the lock; building from %s\n", p.recipe.Name, path)
	p.lock = l
}

// refresh resolves the recipe again, keeps the result in scratch, and fetches that.
func (p *preparation) refresh(ctx context.Context, gone *fetch.GoneError) error {
	if p.Offline {
		return gone
	}
	mirror, err := fetch.Mirror(p.Mirror, p.recipe.Mirror)
	if err != nil {
		return err
	}
	path := RefreshedLock(p.Scratch, p.recipe, p.base())
	p.warn("WARNING: %v\nWARNING: %s: renewing a copy of the lock, %s; what is built differs from the locked image\n", gone, p.recipe.Name, path)
	old := p.lock
	p.lock, err = lock.Resolve(ctx, p.recipe, lock.Options{Mirror: mirror, Keyring: p.Keyring, Old: old, UpdateAll: true, Store: p.store, Progress: p.Progress})
	if err != nil {
		return fmt.Errorf("renew the lock: %w", err)
	}
	p.warn("%s", lock.Diff(old, p.lock))
	if err := os.WriteFile(path, p.lock.Encode(), 0o644); err != nil {
		return fmt.Errorf("keep the renewed lock: %w", err)
	}
	return p.fetch(ctx)
}

// base is the lock that the recipe itself has; it was read a moment ago.
func (p *preparation) base() *lock.Lock {
	l, err := p.openLock(p.recipe)
	if err != nil {
		return p.lock
	}
	return l
}

func (p *preparation) warn(format string, args ...any) {
	if p.Warn != nil {
		p.Warn(format, args...)
	}
}
