package cli

import (
	"strings"
	"testing"

	"picolab/images/assemble"
	"picolab/recipes"
	"picolab/recipes/fetch"
)

// TestCarriedImages: what a host cannot carry is told by name; that it carries the guest shows in the built host.
func TestCarriedImages(t *testing.T) {
	store, err := fetch.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &imageBuilder{buildOptions: new(buildOptions), env: new(Env), store: store}
	for image, want := range map[string]string{
		"nonesuch": "image nonesuch, which box carries: ",
		"host":     "is of a host: only guests can be carried",
		"guest":    "offline",
	} {
		_, err := b.carried(t.Context(), assemble.Source{Offline: true}, &recipes.Recipe{Name: "box", Images: []string{image}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", image, err, want)
		}
	}
	if m, err := b.carried(t.Context(), assemble.Source{}, &recipes.Recipe{Name: "box"}); m != nil || err != nil {
		t.Errorf("nothing to carry: %v, %v", m, err)
	}
}
