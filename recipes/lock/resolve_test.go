package lock

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"picolab/recipes"
	"picolab/recipes/debian/archivetest"
	"picolab/recipes/fetch"
)

const threeSuites = `
name: three
kind: host
architecture: amd64
suites:
  - {name: trixie, components: [main]}
  - {name: trixie-updates, components: [main]}
  - {name: trixie-security, path: debian-security, components: [main]}
packages: [app, tool]
kernel: {package: linux-image-amd64}
`

// A world is an archive of three suites, and the options to read it.
type world struct {
	mirror                  *archivetest.Mirror
	key                     archivetest.Key
	main, updates, security archivetest.Suite
	options                 Options
	recipe                  *recipes.Recipe
}

func newWorld(t testing.TB) *world {
	t.Helper()
	now := time.Now()
	w := &world{mirror: archivetest.NewMirror(t), key: archivetest.NewKey(t), recipe: parse(t, threeSuites)}
	w.main = archivetest.Suite{Name: "trixie", Date: now.Add(-72 * time.Hour), Packages: []archivetest.Package{
		{Name: "app", Version: "1.0", Fields: "Depends: lib\nSource: app-src (1.0+1)\n"}, {Name: "lib", Version: "1.0"}, {Name: "tool", Version: "1.0"},
		{Name: "linux-image-amd64", Version: "6.1", Fields: "Depends: linux-image-6.1-amd64 (= 6.1)\n"}, {Name: "linux-image-6.1-amd64", Version: "6.1", Fields: "Depends: kmod\n"},
	}}
	w.updates = archivetest.Suite{Name: "trixie-updates", Date: now.Add(-48 * time.Hour), ValidUntil: now.Add(time.Hour), Packages: []archivetest.Package{{Name: "tool", Version: "1.1"}}}
	w.security = archivetest.Suite{Name: "trixie-security", Path: "debian-security", Date: now.Add(-24 * time.Hour), ValidUntil: now.Add(time.Hour), Packages: []archivetest.Package{{Name: "lib", Version: "1.0+deb13u1"}}}
	w.options = Options{Mirror: w.mirror.URL, Keyring: archivetest.Keyring(t, w.key), Store: openStore(t)}
	w.publish(t)
	return w
}

func (w *world) publish(t testing.TB) {
	for _, s := range []archivetest.Suite{w.main, w.updates, w.security} {
		w.mirror.Put(t, s, w.key)
	}
}

func (w *world) resolve(t testing.TB) *Lock {
	t.Helper()
	l, err := Resolve(context.Background(), w.recipe, w.options)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// versions lists a lock's packages as "name=version@suite".
func versions(l *Lock) string {
	var out []string
	for _, p := range l.Packages {
		out = append(out, p.Name+"="+p.Version+"@"+p.Suite)
	}
	return strings.Join(out, " ")
}

func TestResolveSeveralSuites(t *testing.T) {
	w := newWorld(t)
	l := w.resolve(t)
	want := "app=1.0@trixie lib=1.0+deb13u1@trixie-security tool=1.1@trixie-updates linux-image-6.1-amd64=6.1@trixie"
	if versions(l) != want {
		t.Errorf("got  %s\nwant %s", versions(l), want)
	}
	if l.Epoch != w.security.Date.Unix() || l.RecipeSHA256 != w.recipe.ResolutionDigest() || l.Packages[0].Source != "app-src (1.0+1)" {
		t.Errorf("got %s", l.Encode())
	}
	if l.Suites[1].ValidUntil == "" || l.Suites[0].ValidUntil != "" {
		t.Errorf("suites %+v", l.Suites)
	}
	read, err := Read(bytes.NewReader(l.Encode()))
	if err != nil || read.Digest() != l.Digest() {
		t.Errorf("the lock cannot be read: %v", err)
	}
	items, err := l.Items(w.mirror.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.options.Store.Fetch(context.Background(), items, fetch.Options{}); err != nil {
		t.Errorf("what was locked cannot be fetched: %v", err)
	}
}

// TestResolveTwice: the same archive gives the same bytes, from an empty store too.
func TestResolveTwice(t *testing.T) {
	w := newWorld(t)
	first := w.resolve(t)
	w.options.Store = openStore(t)
	if second := w.resolve(t); !bytes.Equal(first.Encode(), second.Encode()) {
		t.Errorf("differs:\n%s", Diff(first, second))
	}
}

func TestResolveAsksByHash(t *testing.T) {
	w := newWorld(t)
	w.updates.NoByHash = true
	w.publish(t)
	w.resolve(t)
	plain := 0
	for _, path := range w.mirror.Asked() {
		if strings.HasSuffix(path, "Packages.xz") {
			plain++
		}
	}
	if plain != 1 {
		t.Errorf("%d indices by name, want 1: %v", plain, w.mirror.Asked())
	}
}

// TestResolveFromPartialMirror: it promises indices by digest and has them only by name.
func TestResolveFromPartialMirror(t *testing.T) {
	w := newWorld(t)
	by := w.mirror.Find(t, archivetest.ByHash)
	w.mirror.Set("/debian/dists/trixie/main/binary-amd64/Packages.xz", w.mirror.Get(by))
	w.mirror.Set(by, nil)
	w.resolve(t)
}

// age moves the archive on: newer versions of everything, the old ones stay unless gone.
func (w *world) age(t testing.TB, gone ...string) {
	t.Helper()
	var packages []archivetest.Package
	for _, p := range w.main.Packages {
		if strings.Join(gone, " ") != p.Name {
			packages = append(packages, p)
		}
	}
	w.main.Packages = append(packages, archivetest.Package{Name: "app", Version: "2.0", Fields: "Depends: lib, extra\n"}, archivetest.Package{Name: "extra", Version: "1"},
		archivetest.Package{Name: "tool", Version: "2.0"}, archivetest.Package{Name: "linux-image-6.2-amd64", Version: "6.2"})
	for i, p := range w.main.Packages {
		if p.Name == "linux-image-amd64" {
			w.main.Packages[i] = archivetest.Package{Name: p.Name, Version: "6.2", Fields: "Depends: linux-image-6.2-amd64 (= 6.2)\n"}
		}
	}
	w.main.Date = time.Now().Add(-time.Hour)
	w.publish(t)
}

func TestUpdate(t *testing.T) {
	const (
		before = "app=1.0@trixie lib=1.0+deb13u1@trixie-security tool=1.1@trixie-updates linux-image-6.1-amd64=6.1@trixie"
		after  = "app=2.0@trixie extra=1@trixie lib=1.0+deb13u1@trixie-security tool=2.0@trixie linux-image-6.2-amd64=6.2@trixie"
	)
	for _, c := range []struct {
		name   string
		gone   string
		update []string
		all    bool
		want   string
	}{
		{"nothing asked", "", nil, false, before},
		{"all", "", nil, true, after},
		{"one", "", []string{"tool"}, false, strings.Replace(before, "tool=1.1@trixie-updates", "tool=2.0@trixie", 1)},
		{"one with new dependency", "", []string{"app"}, false, strings.Replace(before, "app=1.0@trixie", "app=2.0@trixie extra=1@trixie", 1)},
		{"kernel", "", []string{"linux-image-amd64"}, false, strings.Replace(before, "linux-image-6.1-amd64=6.1", "linux-image-6.2-amd64=6.2", 1)},
		{"gone kernel", "linux-image-6.1-amd64", nil, false, strings.Replace(before, "linux-image-6.1-amd64=6.1", "linux-image-6.2-amd64=6.2", 1)},
		{"gone package", "app", nil, false, strings.Replace(before, "app=1.0@trixie", "app=2.0@trixie extra=1@trixie", 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			old := w.resolve(t)
			encoded := old.Encode()
			w.age(t, c.gone)
			w.options.Old, w.options.Update, w.options.UpdateAll = old, c.update, c.all
			got := w.resolve(t)
			if versions(got) != c.want {
				t.Errorf("got  %s\nwant %s", versions(got), c.want)
			}
			if c.want == before && !bytes.Equal(got.Encode(), encoded) {
				t.Errorf("nothing was asked for, and yet:\n%s", Diff(old, got))
			}
			if !bytes.Equal(old.Encode(), encoded) {
				t.Error("the old lock was changed")
			}
		})
	}
}

func TestUpdateOfUnknownName(t *testing.T) {
	w := newWorld(t)
	w.options.Update = []string{"tol"}
	if _, err := Resolve(context.Background(), w.recipe, w.options); err == nil || !strings.Contains(err.Error(), "update tol") {
		t.Errorf("error %v", err)
	}
}

// TestRollbackPerSuite: one suite that goes back spoils all.
func TestRollbackPerSuite(t *testing.T) {
	w := newWorld(t)
	w.options.Old = w.resolve(t)
	w.security.Date = w.security.Date.Add(-time.Minute)
	w.publish(t)
	if _, err := Resolve(context.Background(), w.recipe, w.options); err == nil || !strings.Contains(err.Error(), "rollback") {
		t.Errorf("error %v", err)
	}
}

func TestResolveMissingSuite(t *testing.T) {
	w := newWorld(t)
	w.mirror.Set("/debian-security/dists/trixie-security/InRelease", nil)
	_, err := Resolve(context.Background(), w.recipe, w.options)
	var gone *fetch.GoneError
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), "no suite trixie-security") {
		t.Errorf("error %v", err)
	}
}

func TestResolveCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Resolve(ctx, w.recipe, w.options); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestDamagedIndexInStore: an index that rotted in the store is noticed, removed, and loaded again the next time.
func TestDamagedIndexInStore(t *testing.T) {
	w := newWorld(t)
	l := w.resolve(t)
	damage(t, w.options.Store)
	if _, err := Resolve(context.Background(), w.recipe, w.options); err == nil {
		t.Fatal("a damaged index was taken")
	}
	for range 3 { // one run for each index
		if _, err := Resolve(context.Background(), w.recipe, w.options); err == nil {
			break
		}
	}
	if again := w.resolve(t); again.Digest() != l.Digest() {
		t.Error("another lock after the repair")
	}
}
