package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"picolab/recipes/fetch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sum(data string) string {
	s := sha256.Sum256([]byte(data))
	return hex.EncodeToString(s[:])
}

// pack writes a tar archive of name and content pairs, packed.
func pack(t *testing.T, pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for i := 0; i < len(pairs); i += 2 {
		h := &tar.Header{Name: pairs[i], Size: int64(len(pairs[i+1])), Mode: 0o644, Typeflag: tar.TypeReg}
		if pairs[i+1] == "->" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0
			pairs[i+1] = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.bundle")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const recipeText = "name: x\nkind: host\narchitecture: amd64\nsuites: [{name: trixie, components: [main]}]\n"

// index makes one for members of name and content, beside a lock and a recipe.
func index(pairs ...string) *Index {
	x := &Index{Format: format, Recipe: "x", Lock: sum("lock"), Go: "go1"}
	for i := 0; i < len(pairs); i += 2 {
		x.add(pairs[i], []byte(pairs[i+1]))
	}
	return x
}

// TestHostileBundles has archives that nobody exported. None may leave anything in the place of the folder, outside of
// it, or under a digest that it does not have.
func TestHostileBundles(t *testing.T) {
	usual := []string{"x.lock", "lock", "x.yaml", recipeText}
	blob := blobs + sum("right")
	withIndex := func(x *Index, pairs ...string) []string {
		return append([]string{indexName, string(x.encode())}, pairs...)
	}
	for name, tc := range map[string]struct {
		pairs []string
		want  string
	}{
		"empty archive":         {nil, "cut off"},
		"no index":              {usual, "first member"},
		"index is no JSON":      {[]string{indexName, "x"}, "index.json"},
		"unknown format":        {[]string{indexName, `{"format": 2}`}, "format 2"},
		"unknown field":         {[]string{indexName, `{"formats": 1}`}, "unknown field"},
		"recipe with a slash":   {[]string{indexName, `{"format": 1, "recipe": "../x", "lock": "` + sum("") + `"}`}, "is none"},
		"no lock":               {withIndex(index("x.yaml", recipeText)), "the lock is missing"},
		"another lock":          {withIndex(index("x.lock", "other", "x.yaml", recipeText)), "the lock is missing, or another one"},
		"climbs out":            {withIndex(index(append([]string{"source/../../evil", "x"}, usual...)...)), "no member of a bundle"},
		"absolute":              {withIndex(index(append([]string{"/etc/passwd", "x"}, usual...)...)), "no member of a bundle"},
		"beside the recipe":     {withIndex(index(append([]string{"other.yaml", "x"}, usual...)...)), "no member of a bundle"},
		"twice":                 {withIndex(index("x.lock", "lock", "x.lock", "lock")), "comes twice"},
		"blob of another name":  {withIndex(index(append([]string{blobs + sum("a"), "b"}, usual...)...)), "not named by its digest"},
		"blob of other content": {withIndex(index(append([]string{blob, "right"}, usual...)...), append([]string{blob, "wrong"}, usual...)...), "expected " + sum("right")},
		"file of other content": {withIndex(index(usual...), "x.lock", "lack", "x.yaml", recipeText), "expected " + sum("lock")},
		"member missing":        {withIndex(index(usual...), "x.lock", "lock"), "cut off"},
		"other order":           {withIndex(index(usual...), "x.yaml", recipeText, "x.lock", "lock"), `the bundle has "x.yaml"`},
		"other size":            {withIndex(index(usual...), "x.lock", "lock and more", "x.yaml", recipeText), "of 13 bytes in its place"},
		"link for file":         {withIndex(index("x.lock", "lock", "x.yaml", ""), "x.lock", "lock", "x.yaml", "->"), "in its place"},
		"one more":              {withIndex(index(usual...), append(append([]string{}, usual...), "evil", "x")...), `after its last member comes "evil"`},
		"lock is none":          {withIndex(index(usual...), usual...), "read lock"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store, err := fetch.Open(filepath.Join(dir, "store"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Import(t.Context(), pack(t, tc.pairs...), filepath.Join(dir, "out"), store, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("left behind: %v", entries)
			}
			if kept, _ := filepath.Glob(filepath.Join(dir, "store/*/*/*")); len(kept) > 0 {
				t.Errorf("stored: %q", kept)
			}
			if parts, _ := filepath.Glob(filepath.Join(dir, "store/part/*")); len(parts) > 0 {
				t.Errorf("parts: %q", parts)
			}
		})
	}
}

// TestTruncated cuts a bundle at every byte.
func TestTruncated(t *testing.T) {
	whole, err := os.ReadFile(pack(t, indexName, string(index("x.lock", "lock", "x.yaml", recipeText).encode()), "x.lock", "lock", "x.yaml", recipeText))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store, err := fetch.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "part.bundle")
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Import(t.Context(), path, filepath.Join(dir, "out"), store, nil)
		if err == nil || strings.Contains(err.Error(), "read lock") { // the whole one fails there
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}
