package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"picolab/initramfs/internal/leak"
	"picolab/initramfs/tree"
)

func TestMain(m *testing.M) { leak.Main(m) }

// peakKiB is the largest resident size of this process so far (proc(5)).
func peakKiB(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("/proc not mounted")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// build has dpkg-deb(1) make a package of an ordinary kind.
func build(t *testing.T, compression string) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb(1) not installed")
	}
	dir := filepath.Join(t.TempDir(), "pkg")
	src := tree.New()
	for path, e := range map[string]tree.Entry{
		"DEBIAN/control":                 tree.Regular(0o644, tree.Bytes([]byte(foreignControl))),
		"DEBIAN/postinst":                tree.Regular(0o755, tree.Bytes([]byte("#!/bin/sh\nexit 1\n"))),
		"usr/bin/tool":                   tree.Regular(0o755, tree.Bytes(bytes.Repeat([]byte("tool"), 1<<19))),
		"usr/bin/alias":                  tree.Symlink("tool"),
		"usr/share/doc/sample/extra":     tree.Regular(0o640, tree.Bytes([]byte("extra"))),
		"usr/share/doc/sample/copyright": tree.Regular(0o644, tree.Bytes([]byte("free"))),
		"var/empty":                      tree.Dir(0o700),
		"usr/lib/" + strings.Repeat("long/", 30) + strings.Repeat("n", 120): tree.Regular(0o444, tree.Bytes(nil)),
		"etc/ünï\tcode": tree.Regular(0o644, tree.Bytes([]byte("name"))),
	} {
		if err := src.Put(path, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := src.WriteDir(t.Context(), dir, tree.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "usr/bin/tool"), filepath.Join(dir, "usr/bin/tool2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "usr/share/doc/sample/extra"), 0o640|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "sample.deb")
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "-Z"+compression, "--build", dir, out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, text)
	}
	return out
}

const foreignControl = `Package: sample
Source: samples (2:1.0-3)
Version: 2:1.0-3+b1
Architecture: amd64
Maintainer: Nobody <nobody@example.org>
Homepage: https://example.org/
Description: a sample
 of more
 Package: than one line
`

func openFile(t *testing.T, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, info.Size()
}

// TestForeign compares with dpkg-deb(1): what it extracts, what it lists, what
// it says of the control file. PICOLAB_TEST_DEBS may name a folder of further
// packages to compare.
func TestForeign(t *testing.T) {
	for _, compression := range []string{"xz", "zstd", "gzip", "none"} {
		t.Run(compression, func(t *testing.T) { compare(t, build(t, compression)) })
	}
	more, _ := filepath.Glob(filepath.Join(os.Getenv("PICOLAB_TEST_DEBS"), "*.deb"))
	for _, path := range more {
		if os.Getenv("PICOLAB_TEST_DEBS") != "" {
			t.Run(filepath.Base(path), func(t *testing.T) { compare(t, path) })
		}
	}
}

func compare(t *testing.T, path string) {
	f, size := openFile(t, path)
	got := tree.New()
	c, err := Unpack(t.Context(), f, size, "sample", got, store(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "x")
	if out, err := exec.Command("dpkg-deb", "-x", path, dir).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb -x: %v\n%s", err, out)
	}
	want, err := tree.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := tree.Diff(got.Unprivileged(), want); len(d) != 0 {
		t.Errorf("ours, dpkg-deb's: %v", d)
	}
	lines, hard := list(t, path)
	if own := ownList(got, hard); !slices.Equal(own, lines) {
		t.Errorf("list: got %q\nwant %q", own, lines)
	}
	out, err := exec.Command("dpkg-deb", "-W", "--showformat=${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join([]string{c.Package, c.Version, c.Architecture, c.Source, c.SourceVersion}, " "); got != string(out) {
		t.Errorf("control: got %q, want %q", got, out)
	}
}

// list returns "mode path" lines of dpkg-deb -c, and which paths are hard links:
// those it lists with a mode of their own.
func list(t *testing.T, path string) (lines []string, hard map[string]bool) {
	out, err := exec.Command("dpkg-deb", "-c", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	hard = map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		name := strings.TrimSuffix(strings.TrimPrefix(f[5], "./"), "/")
		if f[0][0] == 'h' {
			hard[name] = true
		} else if name != "" {
			lines = append(lines, f[0]+" "+name)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines), hard
}

// ownList is list of a tree.
func ownList(t *tree.Tree, hard map[string]bool) []string {
	var lines []string
	for path, e := range t.All() {
		name := strings.Fields(strings.ReplaceAll(path, "\t", `\t`))[0]
		if !hard[name] {
			lines = append(lines, lsMode(e)+" "+name)
		}
	}
	slices.Sort(lines)
	return lines
}

// lsMode writes a mode as ls(1) does.
func lsMode(e tree.Entry) string {
	kind := map[uint32]string{tree.TypeDir: "d", tree.TypeSymlink: "l", tree.TypeRegular: "-"}[e.Type()]
	bits := []byte("rwxrwxrwx")
	for i := range bits {
		if e.Perm()>>(8-i)&1 == 0 {
			bits[i] = '-'
		}
	}
	for i, set := range map[int]string{2: "sS", 5: "sS", 8: "tT"} {
		special := map[int]uint32{2: 0o4000, 5: 0o2000, 8: 0o1000}[i]
		if e.Perm()&special == 0 {
			continue
		}
		if bits[i] == 'x' {
			bits[i] = set[0]
		} else {
			bits[i] = set[1]
		}
	}
	return kind + string(bits)
}

func TestControlAndFindings(t *testing.T) {
	suid := file("./usr/bin/su", "x")
	suid.Mode = 0o4755
	into, c, err := unpackBytes(t, of(t, suid, file("./usr/share/doc/crafted/copyright", "x")), store(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Setuid, []string{"usr/bin/su"}) || c.Copyright != "usr/share/doc/crafted/copyright" || c.Source != "crafted" {
		t.Errorf("got %+v", c)
	}
	if e, _ := into.Get("usr/bin/su"); e.Perm() != 0o4755 || e.Source != "crafted.deb" {
		t.Errorf("got %+v", e)
	}
	nothing := Options{Keep: func(string) bool { return false }}
	_, c, err = unpackBytes(t, of(t, typed(tar.TypeSymlink, "./usr/share/doc/crafted", "other")), store(t), nothing)
	if err != nil || c.Copyright != "usr/share/doc/other/copyright" {
		t.Errorf("linked copyright: %q, %v", c.Copyright, err)
	}
}

func TestUsrMerge(t *testing.T) {
	data := of(t, typed(tar.TypeDir, "./lib/", ""), file("./lib/a", "a"), typed(tar.TypeDir, "./usr/lib/", ""),
		typed(tar.TypeLink, "./bin/b", "./lib/a"), file("./library", "c"), typed(tar.TypeSymlink, "./sbin", "usr/sbin"))
	into, _, err := unpackBytes(t, data, store(t), Options{UsrMerge: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for path := range into.All() {
		got = append(got, path)
	}
	want := strings.Fields("library sbin usr usr/bin usr/bin/b usr/lib usr/lib/a")
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeep(t *testing.T) {
	opt := Options{Keep: func(p string) bool { return strings.HasPrefix(p, "boot/") }}
	into, _, err := unpackBytes(t, of(t, file("./boot/vmlinuz", "k"), file("./lib/x", "x")), store(t), opt)
	if err != nil || into.Len() != 2 {
		t.Errorf("%d entries, %v", into.Len(), err)
	}
	linked := of(t, file("./lib/x", "x"), typed(tar.TypeLink, "./boot/x", "./lib/x"))
	if _, _, err := unpackBytes(t, linked, store(t), opt); err == nil {
		t.Error("a hard link to a file passed over was taken")
	}
}

// TestConflictLeavesTree: two packages with one path, the second is refused.
func TestConflictLeavesTree(t *testing.T) {
	into, blobs := tree.New(), store(t)
	for i, content := range []string{"one", "two"} {
		data := of(t, file("./new"+content, "x"), file("./same", content))
		_, err := Unpack(context.Background(), bytes.NewReader(data), int64(len(data)), content+".deb", into, blobs, Options{})
		if (err != nil) != (i == 1) {
			t.Fatal(err)
		}
		if i == 1 && (!strings.Contains(err.Error(), "one.deb") || !strings.Contains(err.Error(), "two.deb") || into.Len() != 2) {
			t.Errorf("%v; %d entries", err, into.Len())
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := of(t, file("./f", "x"))
	_, err := Unpack(ctx, bytes.NewReader(data), int64(len(data)), "x", tree.New(), store(t), Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestBlobs(t *testing.T) {
	b := store(t)
	for _, size := range []int{0, 1, smallBlob, smallBlob + 1, 3 * smallBlob} {
		content := bytes.Repeat([]byte{byte(size)}, size)
		for range 2 { // the second time it is there
			blob, err := b.Put(iotest.HalfReader(bytes.NewReader(content)))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tree.ReadAll(blob); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes: got %d, %v", size, len(got), err)
			}
		}
	}
	_, err := b.Put(io.MultiReader(bytes.NewReader(make([]byte, 2*smallBlob)), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(b.dir, "tmp")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 2 * staleAfter, "new": time.Minute} {
		path := filepath.Join(tmp, name)
		when := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenBlobs(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 1 || left[0].Name() != "new" {
		t.Errorf("left %v", left)
	}
}

// unread is a package that must not be looked at.
type unread struct{ t *testing.T }

func (u unread) ReadAt([]byte, int64) (int, error) {
	u.t.Error("the package was read again")
	return 0, io.EOF
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	data := of(t, file("./usr/share/doc/crafted/copyright", "x"), file("./big", strings.Repeat("b", 1<<21)), typed(tar.TypeSymlink, "./l", "big"))
	digest := hexSum(data)
	open := func() *Cache {
		c, err := OpenCache(dir)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	get := func(r io.ReaderAt, opt Options) (*tree.Tree, Control) {
		into := tree.New()
		c, err := open().Unpack(t.Context(), r, int64(len(data)), digest, "x.deb", into, opt)
		if err != nil {
			t.Fatal(err)
		}
		return into, c
	}
	first, control := get(bytes.NewReader(data), Options{})
	second, again := get(unread{t}, Options{})
	if d := tree.Diff(first, second); len(d) != 0 || fmt.Sprint(control) != fmt.Sprint(again) {
		t.Errorf("came back different: %v, %+v", d, again)
	}

	only := Options{Keep: func(p string) bool { return p == "big" }, KeepName: "big"}
	if part, _ := get(bytes.NewReader(data), only); part.Len() != 1 {
		t.Errorf("another choice came from the cache: %d entries", part.Len())
	}
	only.KeepName = ""
	only.Keep = func(p string) bool { return p == "l" }
	if part, _ := get(bytes.NewReader(data), only); part.Len() != 1 {
		t.Errorf("an unnamed choice came from the cache: %d entries", part.Len())
	}

	e, _ := first.Get("big")
	if err := os.Remove(open().blobs.path(e.Blob.SHA256())); err != nil {
		t.Fatal(err)
	}
	healed, _ := get(bytes.NewReader(data), Options{})
	if e, _ := healed.Get("big"); e.Size() != 1<<21 {
		t.Error("a lost content was not unpacked again")
	}
	damage(t, filepath.Join(dir, "index"))
	healed, _ = get(bytes.NewReader(data), Options{})
	if d := tree.Diff(first, healed); len(d) != 0 {
		t.Errorf("after damage: %v", d)
	}
}

// damage changes one byte of every file in dir.
func damage(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatalf("no index: %v", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzAr(f *testing.F) {
	f.Add(of(f, file("./f", "x")))
	f.Add([]byte(arMagic))
	f.Add(container(part{"debian-binary", []byte("2.0\n")}, part{"_gpg", []byte("odd")}, part{"control.tar.xz/", nil}))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := readAr(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, m := range members {
			if n, err := io.Copy(io.Discard, m.SectionReader); err != nil || n != m.Size() {
				t.Errorf("member %q of %d bytes: read %d, %v", m.name, m.Size(), n, err)
			}
		}
	})
}

// FuzzData feeds the rules for tar entries; what gets through must be a tree
// that can be written.
func FuzzData(f *testing.F) {
	for _, h := range append(hostilePaths(f), hostileTypes(f)...) {
		if p, err := open(bytes.NewReader(h.data), int64(len(h.data))); err == nil && p.data.Size() < 1<<16 {
			raw, _ := io.ReadAll(p.data)
			f.Add(raw)
		}
	}
	blobs := store(f)
	opt := Options{Limits: Limits{Bytes: 1 << 20, Entries: 1000}}
	f.Fuzz(func(t *testing.T, data []byte) {
		u := newUnpacker(t.Context(), "fuzz", "fuzz", blobs, opt, opt.Limits.withDefaults())
		m := member{SectionReader: io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))}
		if err := u.data(m); err != nil {
			return
		}
		if err := u.tree.WriteDir(t.Context(), filepath.Join(t.TempDir(), "root"), tree.WriteOptions{}); err != nil && !isNameError(err) {
			t.Error(err)
		}
	})
}

// isNameError reports errors of file systems that take fewer names than Linux.
func isNameError(err error) bool {
	return strings.Contains(err.Error(), "file name too long") || strings.Contains(err.Error(), "invalid argument")
}

func FuzzControl(f *testing.F) {
	f.Add(foreignControl)
	f.Add(control)
	f.Add(" Package: x\nPackage:\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := parseFields(strings.NewReader(text))
		if err != nil {
			return
		}
		if c, err := controlOf(fields); err == nil && (c.Package == "" || c.Source == "") {
			t.Errorf("got %+v", c)
		}
	})
}
