package local

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/recipes"
	"picolab/recipes/fetch"
)

const text = `name: x
kind: host
architecture: amd64
suites: [{name: trixie, components: [main]}]
kernel: {image: {path: k/bzImage}, tree: {path: k}}
files: [{path: /f, source: f}]
`

func file(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), mode)); err != nil {
		t.Fatal(err)
	}
}

// scene writes a recipe with a file and a folder.
func scene(t *testing.T, recipe string) (*fetch.Store, *recipes.Recipe, string) {
	t.Helper()
	dir := t.TempDir()
	file(t, filepath.Join(dir, "k/bzImage"), "image", 0o644)
	file(t, filepath.Join(dir, "k/lib/modules/1/a.ko"), "module", 0o644)
	file(t, filepath.Join(dir, "k/lib/modules/1.x"), "sorts before the folder", 0o644)
	file(t, filepath.Join(dir, "k/run"), "#!", 0o755)
	file(t, filepath.Join(dir, "f"), "content", 0o600)
	file(t, filepath.Join(dir, "x.yaml"), recipe, 0o644)
	if err := errors.Join(os.Symlink("a.ko", filepath.Join(dir, "k/lib/modules/1/b.ko")), os.Symlink(dir, filepath.Join(dir, "k/lib/modules/1/build"))); err != nil {
		t.Fatal(err)
	}
	store, err := fetch.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := recipes.Open(filepath.Join(dir, "x.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return store, r, dir
}

// TestAddIsReproducible packs the same folder in another place, made at another time and with other permissions of the
// group.
func TestAddIsReproducible(t *testing.T) {
	store, r, dir := scene(t, text)
	first, err := Add(t.Context(), store, r)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Umask(unix.Umask(0o077))
	other, again, dir2 := scene(t, text)
	past := time.Unix(1e9, 0)
	if err := os.Chtimes(filepath.Join(dir2, "k/run"), past, past); err != nil {
		t.Fatal(err)
	}
	second, err := Add(t.Context(), other, again)
	if err != nil || len(second) != 3 || first[0] != second[0] || first[1] != second[1] || first[2] != second[2] {
		t.Errorf("%+v, %+v, %v", first, second, err)
	}
	if err := os.Chmod(filepath.Join(dir2, "k/run"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), other, again, second); err == nil || !strings.Contains(err.Error(), "changed since it was locked") {
		t.Errorf("a file that can no longer be run: %v", err)
	}
	if out, err := exec.Command("tar", "-tf", filepath.Join(dir, "store/sha256", first[2].SHA256[:2], first[2].SHA256)).CombinedOutput(); err != nil ||
		strings.Contains(string(out), "build") || !strings.Contains(string(out), "lib/modules/1/b.ko\n") {
		t.Errorf("tar reads: %s, %v", out, err)
	}
}

func TestCheck(t *testing.T) {
	store, r, dir := scene(t, text)
	entries, err := Add(t.Context(), store, r)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := fetch.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), empty, r, entries); err != nil || !empty.Has(entries[2].SHA256, entries[2].Size) {
		t.Errorf("an empty store is filled from the files: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "k")); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), store, r, entries); err != nil {
		t.Errorf("files that are gone come from the store: %v", err)
	}
	bare, err := fetch.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var fault *recipes.Error
	if err := Check(t.Context(), bare, r, entries); !errors.As(err, &fault) || fault.Line != 5 {
		t.Errorf("neither file nor store: %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		recipe, want string
		spoil        func(dir string) error
	}{
		"missing":         {text, "x.yaml:6:9", func(dir string) error { return os.Remove(filepath.Join(dir, "f")) }},
		"other digest":    {strings.Replace(text, "source: f", "source: f, sha256: '"+strings.Repeat("0", 64)+"'", 1), "not the one stated", nil},
		"file for folder": {strings.Replace(text, "tree: {path: k}", "tree: {path: f}", 1), "f is not a folder", nil},
		"folder for file": {strings.Replace(text, "source: f", "source: k", 1), "k is not a regular file", nil},
		"device in folder": {text, "only files, folders and links", func(dir string) error {
			return unix.Mkfifo(filepath.Join(dir, "k/fifo"), 0o644)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store, r, dir := scene(t, tc.recipe)
			if tc.spoil != nil {
				if err := tc.spoil(dir); err != nil {
					t.Fatal(err)
				}
			}
			var fault *recipes.Error
			if _, err := Add(t.Context(), store, r); !errors.As(err, &fault) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if parts, _ := filepath.Glob(filepath.Join(dir, "store/part/*")); len(parts) > 0 {
				t.Errorf("left behind: %q", parts)
			}
		})
	}
}

// TestArchiveIsCanonical reads the headers back: nothing of the machine is in them.
func TestArchiveIsCanonical(t *testing.T) {
	_, r, _ := scene(t, text)
	var b bytes.Buffer
	if err := archive(t.Context(), &b, r.Locals()[2].Path); err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(&b); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Uname != "" || h.ModTime.Unix() > 0 || h.Mode != 0o644 && h.Mode != 0o755 && h.Mode != 0o777 {
			t.Errorf("%+v", h)
		}
	}
}
