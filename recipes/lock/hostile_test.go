package lock

import (
	"bytes"
	"context"
	"testing"

	"picolab/recipes"
	"picolab/recipes/debian/archivetest"
	"picolab/recipes/fetch"
)

const sceneRecipe = `
name: scene
kind: host
architecture: amd64
suites: [{name: trixie, components: [main]}]
packages: [app]
`

// TestHostileMirror is promise 3: no attack leads to a lock, and the old lock is not touched.
func TestHostileMirror(t *testing.T) {
	attacks := archivetest.Attacks()
	if len(attacks) < 40 {
		t.Fatalf("%d attacks, promised are 40", len(attacks))
	}
	for _, attack := range attacks {
		t.Run(attack.Name, func(t *testing.T) {
			if testing.Short() && attack.Name == "always-broken" {
				t.Skip("waits for all retries, which takes 8 s")
			}
			t.Parallel()
			scene := archivetest.NewScene(t)
			recipe := parse(t, sceneRecipe)
			o := Options{Mirror: scene.Mirror.URL, Keyring: scene.Keyring, Store: openStore(t)}
			good, err := Resolve(context.Background(), recipe, o)
			if err != nil {
				t.Fatalf("the archive before the attack: %v", err)
			}
			before := good.Encode()
			attack.Apply(t, scene)
			o.Old, o.UpdateAll, o.Store = good, true, openStore(t)
			bad, err := Resolve(context.Background(), recipe, o)
			if err == nil {
				t.Fatalf("accepted; the lock would be\n%s", bad.Encode())
			}
			t.Log(err)
			if !bytes.Equal(good.Encode(), before) {
				t.Error("the old lock was changed")
			}
		})
	}
}

func parse(t testing.TB, text string) *recipes.Recipe {
	t.Helper()
	r, err := recipes.Parse("test.yaml", []byte(text))
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openStore(t testing.TB) *fetch.Store {
	t.Helper()
	s, err := fetch.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
