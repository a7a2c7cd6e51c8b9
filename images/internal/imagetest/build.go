package imagetest

import (
	"path/filepath"
	"testing"

	"picolab/images/assemble"
	"picolab/recipes"
	"picolab/recipes/fetch"
	"picolab/recipes/lock"
)

// Options prepares a build of a recipe of the bench, locked now, into the bench's folder.
func (b *Bench) Options(t testing.TB, recipe string) assemble.Options {
	t.Helper()
	store, err := fetch.Open(filepath.Join(b.Dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := recipes.Open(filepath.Join(b.Dir, recipe+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := lock.Resolve(t.Context(), r, lock.Options{Mirror: b.URL, Keyring: b.Keyring, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	Write(t, b.Dir, map[string]string{recipe + ".lock": string(l.Encode())})
	source := assemble.Source{Recipe: filepath.Join(b.Dir, recipe+".yaml"), Mirror: b.URL}
	if r, l, err = assemble.Prepare(t.Context(), store, source); err != nil {
		t.Fatal(err)
	}
	return assemble.Options{Recipe: r, Lock: l, Store: store, Output: filepath.Join(b.Dir, "out", recipe), ModuleDir: b.Source}
}
