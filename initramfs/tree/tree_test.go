package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"picolab/initramfs/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// text is a regular file for tests.
func text(s string) Entry { return Regular(0o644, Bytes([]byte(s))) }

func put(t *testing.T, tr *Tree, path string, e Entry) {
	t.Helper()
	if err := tr.Put(path, e); err != nil {
		t.Fatal(err)
	}
}

func paths(t *Tree) []string {
	var out []string
	for p := range t.All() {
		out = append(out, p)
	}
	return out
}

func sample(t *testing.T) *Tree {
	t.Helper()
	tr := New()
	put(t, tr, "usr/bin/x", Regular(0o755, Bytes([]byte("x"))))
	put(t, tr, "usr/bin-old", text("old"))
	put(t, tr, "bin", Symlink("usr/bin"))
	put(t, tr, "tmp", Dir(0o1777))
	put(t, tr, "etc/secret", Regular(0o400, Bytes([]byte("s"))))
	put(t, tr, "ro", Dir(0o555))
	put(t, tr, "ro/file", text(""))
	put(t, tr, "dev/null", CharDevice(0o666, 1, 3))
	put(t, tr, "usr/bin/su", Regular(0o4755, Bytes([]byte("su"))))
	return tr
}

func TestParentsComeFirst(t *testing.T) {
	got := paths(sample(t))
	want := strings.Fields("bin dev dev/null etc etc/secret ro ro/file tmp usr usr/bin usr/bin-old usr/bin/su usr/bin/x")
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestPutRefuses(t *testing.T) {
	for _, path := range []string{
		"", "/", "/a", "a/", "a//b", ".", "./a", "a/./b", "..", "../a", "a/../b", "a/..", "a\x00b",
		strings.Repeat("n", MaxName+1), strings.Repeat("a/", MaxPath/2+1) + "a",
	} {
		if err := New().Put(path, Dir(0o755)); err == nil {
			t.Errorf("path %.40q was taken", path)
		}
	}
	for name, e := range map[string]Entry{
		"no content":        {Mode: TypeRegular | 0o644},
		"folder content":    {Mode: TypeDir | 0o755, Blob: Bytes(nil)},
		"no target":         {Mode: TypeSymlink | 0o777},
		"file with target":  {Mode: TypeRegular, Blob: Bytes(nil), Link: "x"},
		"socket":            {Mode: 0o140644},
		"no type":           {Mode: 0o644},
		"more bits":         {Mode: 1<<20 | TypeDir},
		"target with a NUL": Symlink("a\x00b"),
	} {
		if err := New().Put("a", e); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

func TestConflictNamesBothSources(t *testing.T) {
	tr := New()
	put(t, tr, "etc/x", text("one").From("a.deb"))
	put(t, tr, "etc/x", text("one").From("b.deb")) // the same is no conflict
	err := tr.Put("etc/x", text("two").From("b.deb"))
	var c *ConflictError
	if !errors.As(err, &c) || c.Path != "etc/x" {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"etc/x", "a.deb", "b.deb", "content"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
}

func TestNothingBelowALink(t *testing.T) {
	tr := New()
	put(t, tr, "link", Symlink("/etc"))
	put(t, tr, "file", text("f"))
	for _, path := range []string{"link/passwd", "link/a/b", "file/x"} {
		if err := tr.Put(path, text("x")); err == nil {
			t.Errorf("%s was taken", path)
		}
	}
	put(t, tr, "dir/sub", text("x"))
	if err := tr.Put("dir", Symlink("/etc")); err == nil {
		t.Error("a link took the place of a folder")
	}
	if tr.Len() != 4 {
		t.Errorf("refused entries left something: %q", paths(tr))
	}
}

func TestImpliedFolderGivesWay(t *testing.T) {
	a, b := New(), New()
	put(t, a, "d/x", text("x"))
	put(t, b, "d", Dir(0o700))
	for name, pair := range map[string][2]*Tree{"implied first": {a, b}, "explicit first": {b, a}} {
		m := pair[0].Clone()
		if err := m.Merge(pair[1]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e, _ := m.Get("d"); e.Perm() != 0o700 {
			t.Errorf("%s: mode %o", name, e.Perm())
		}
	}
	put(t, a, "d", Dir(0o755)) // now by name
	if err := a.Merge(b); err == nil {
		t.Error("two explicit modes merged")
	}
}

func TestMergeIsAllOrNothing(t *testing.T) {
	for name, other := range map[string]map[string]Entry{
		"content":            {"a": text("new"), "usr/bin/x": text("other")},
		"folder over file":   {"a": text("new"), "etc/secret/deep": text("x")},
		"file over folder":   {"a": text("new"), "usr": text("x")},
		"folder over a link": {"a": text("new"), "bin/sh": text("x")},
	} {
		tr, o := sample(t), New()
		for path, e := range other {
			put(t, o, path, e)
		}
		before := tr.Digest()
		if err := tr.Merge(o); err == nil {
			t.Errorf("%s: merged", name)
		}
		if tr.Digest() != before {
			t.Errorf("%s: a refused merge changed the tree", name)
		}
	}
}

// TestDigestSeesEverything changes one thing at a time.
func TestDigestSeesEverything(t *testing.T) {
	base := sample(t)
	seen := map[[32]byte]string{base.Digest(): "the sample"}
	change := func(name string, f func(tr *Tree)) {
		tr := base.Clone()
		f(tr)
		if other, ok := seen[tr.Digest()]; ok {
			t.Errorf("%s: same digest as %s", name, other)
		}
		seen[tr.Digest()] = name
		if len(Diff(base, tr)) == 0 {
			t.Errorf("%s: Diff sees nothing", name)
		}
	}
	set := func(path string, f func(e *Entry)) func(*Tree) {
		return func(tr *Tree) {
			e, _ := tr.Get(path)
			tr.Remove(path)
			f(&e)
			put(t, tr, path, e)
		}
	}
	change("gone", func(tr *Tree) { tr.Remove("bin") })
	change("more", func(tr *Tree) { put(t, tr, "more", Dir(0o755)) })
	change("mode", set("usr/bin/x", func(e *Entry) { e.Mode ^= 0o111 }))
	change("uid", set("usr/bin/x", func(e *Entry) { e.UID = 1 }))
	change("gid", set("usr/bin/x", func(e *Entry) { e.GID = 1 }))
	change("content", set("usr/bin/x", func(e *Entry) { e.Blob = Bytes([]byte("y")) }))
	change("link", set("bin", func(e *Entry) { e.Link = "usr/sbin" }))
	change("minor", set("dev/null", func(e *Entry) { e.Rdev = Dev(1, 5) }))
	change("major", set("dev/null", func(e *Entry) { e.Rdev = Dev(2, 3) }))

	same := base.Clone()
	set("usr/bin/x", func(e *Entry) { e.Source = "elsewhere" })(same)
	if same.Digest() != base.Digest() || len(Diff(base, same)) != 0 {
		t.Error("the source is part of the digest")
	}
}

// TestDigestIsPinned: digests are in manifests; an encoding that changes by
// accident makes every image look different.
func TestDigestIsPinned(t *testing.T) {
	const want = "700fd217cc048fec1f51cb2b0f437eb584fcf35f9b05589071de4fb50f6162e6"
	if got := fmt.Sprintf("%x", sample(t).Digest()); got != want {
		t.Errorf("digest of the sample is %s, was %s: change digestVersion too", got, want)
	}
}

func TestDiffNamesPathAndKind(t *testing.T) {
	a, b := sample(t), sample(t)
	a.Remove("usr/bin/x")
	put(t, a, "usr/bin/x", text("xy"))
	a.Remove("tmp")
	put(t, b, "zz", text(""))
	var got []string
	for _, d := range Diff(a, b) {
		got = append(got, d.String())
	}
	want := []string{"tmp: only in the second", "usr/bin/x: mode 0644, 0755", "zz: only in the second"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRemoveAndFilter(t *testing.T) {
	tr := sample(t)
	tr.Remove("usr/bin")
	if _, ok := tr.Get("usr/bin/x"); ok {
		t.Error("removed folder left a file")
	}
	if _, ok := tr.Get("usr/bin-old"); !ok {
		t.Error("a neighbour of like name went too")
	}
	got := paths(sample(t).Filter(func(p string) bool { return strings.HasSuffix(p, "/x") || p == "ro" }))
	if want := []string{"ro", "usr", "usr/bin", "usr/bin/x"}; !slices.Equal(got, want) {
		t.Errorf("filter: got %q, want %q", got, want)
	}
}

func TestIndexRoundTrip(t *testing.T) {
	tr := sample(t)
	put(t, tr, "usr/lib/y", Regular(0o644, Bytes([]byte("yy"))).From("y.deb"))
	contents := map[[32]byte]Blob{}
	for _, e := range tr.All() {
		if e.Blob != nil {
			contents[e.Blob.SHA256()] = e.Blob
		}
	}
	var buf bytes.Buffer
	if err := tr.WriteIndex(&buf); err != nil {
		t.Fatal(err)
	}
	index := buf.String()
	back, err := ReadIndex(&buf, func(size int64, sum [32]byte) (Blob, error) { return contents[sum], nil })
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(tr, back); len(d) != 0 {
		t.Errorf("came back different: %v", d)
	}
	for path := range tr.All() {
		if tr.entries[path].implied != back.entries[path].implied || tr.entries[path].Source != back.entries[path].Source {
			t.Errorf("%s: implied or source lost", path)
		}
	}
	_, err = ReadIndex(strings.NewReader(index), func(int64, [32]byte) (Blob, error) { return nil, os.ErrNotExist })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing content: %v", err)
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(`[{"path":"a","mode":33188,"size":1,"sha256":"00"}]`))
	f.Add([]byte(`[{"path":"../a","mode":16877},{"path":"a","mode":41471,"link":"/"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := ReadIndex(bytes.NewReader(data), func(int64, [32]byte) (Blob, error) { return Bytes(nil), nil })
		if err != nil {
			return
		}
		for path := range tr.All() {
			if CheckPath(path) != nil {
				t.Errorf("path %q got in", path)
			}
		}
	})
}

func TestFileBlobChecksItself(t *testing.T) {
	name := filepath.Join(t.TempDir(), "blob")
	write := func(s string) {
		if err := os.WriteFile(name, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("content")
	b, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadAll(b); err != nil || string(got) != "content" {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, changed := range []string{"contenT", "conten", "contents", ""} {
		write(changed)
		if _, err := ReadAll(b); err == nil {
			t.Errorf("content changed to %q was read", changed)
		}
	}
	r, err := b.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err == nil {
		t.Errorf("copied %d bytes of a changed content", n)
	}
}
