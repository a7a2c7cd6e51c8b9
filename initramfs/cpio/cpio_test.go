package cpio

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"picolab/initramfs/internal/leak"
	"picolab/initramfs/tree"
)

func TestMain(m *testing.M) { leak.Main(m) }

const epoch = 1_700_000_000

func sample(t testing.TB) *tree.Tree {
	t.Helper()
	tr := tree.New()
	owned := tree.Regular(0o640, tree.Bytes([]byte("owned")))
	owned.UID, owned.GID = 7, 70000
	for path, e := range map[string]tree.Entry{
		"init":        tree.Symlink("bbin/init"),
		"bbin/bb":     tree.Regular(0o755, tree.Bytes(bytes.Repeat([]byte("\x7fELF text "), 200_000))),
		"bbin/init":   tree.Symlink("bb"),
		"dev/console": tree.CharDevice(0o600, 5, 1),
		"dev/ram":     {Mode: tree.TypeBlock | 0o660, Rdev: tree.Dev(259, 70000)},
		"dev/fifo":    {Mode: tree.TypeFIFO | 0o600},
		"tmp":         tree.Dir(0o1777),
		"etc/empty":   tree.Regular(0o444, tree.Bytes(nil)),
		"etc/owned":   owned,
		"a/" + strings.Repeat("long/", 100) + "x": tree.Regular(0o600, tree.Bytes([]byte("x"))),
		"etc/one":   tree.Regular(0o4755, tree.Bytes([]byte("1"))), // each of the four paddings
		"etc/two":   tree.Regular(0o644, tree.Bytes([]byte("12"))),
		"etc/three": tree.Regular(0o644, tree.Bytes([]byte("123"))),
		"etc/four":  tree.Regular(0o644, tree.Bytes([]byte("1234"))),
	} {
		if err := tr.Put(path, e); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func segment(t testing.TB, tr *tree.Tree, mtime int64, c Compression) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Segment(&b, tr, mtime, c); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestForeignList has cpio(1) list the archive.
func TestForeignList(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("cpio(1) not installed")
	}
	tr := sample(t)
	cmd := exec.Command("cpio", "--quiet", "-itv", "--numeric-uid-gid")
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(segment(t, tr, epoch, None))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	var want []string
	for path, e := range tr.All() {
		want = append(want, listed(path, e))
	}
	if got := squeeze(lines); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// squeeze makes every run of blanks one.
func squeeze(lines []string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, strings.ReplaceAll(strings.Join(strings.Fields(l), " "), ", ", ","))
	}
	return out
}

// listed is the line that cpio -itv prints for an entry.
func listed(path string, e tree.Entry) string {
	kind := map[uint32]string{tree.TypeDir: "d", tree.TypeSymlink: "l", tree.TypeRegular: "-", tree.TypeChar: "c", tree.TypeBlock: "b", tree.TypeFIFO: "p"}[e.Type()]
	perm := []byte("rwxrwxrwx")
	for i := range perm {
		if e.Perm()>>(8-i)&1 == 0 {
			perm[i] = '-'
		}
	}
	if e.Perm()&0o4000 != 0 {
		perm[2] = 's'
	}
	if e.Perm()&0o1000 != 0 {
		perm[8] = 't'
	}
	size, links := fmt.Sprint(e.Size()), 1
	if e.IsDir() {
		links = 2
	}
	if e.Type() == tree.TypeChar || e.Type() == tree.TypeBlock {
		size = fmt.Sprintf("%d,%d", e.Major(), e.Minor())
	}
	line := fmt.Sprintf("%s%s %d %d %d %s Nov 14 2023 %s", kind, perm, links, e.UID, e.GID, size, path)
	if e.IsSymlink() {
		line += " -> " + e.Link
	}
	return line
}

// TestForeignExtract has cpio(1) unpack what needs no privilege.
func TestForeignExtract(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("cpio(1) not installed")
	}
	tr := sample(t)
	for _, path := range []string{"dev", "etc/owned", "etc/one"} {
		tr.Remove(path)
	}
	dir := t.TempDir()
	cmd := exec.Command("cpio", "--quiet", "-id")
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(segment(t, tr, epoch, None))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := tree.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d := tree.Diff(tr, got); len(d) != 0 {
		t.Error(d)
	}
	if err := os.Truncate(filepath.Join(dir, "etc/three"), 1); err != nil {
		t.Fatal(err)
	}
	if got, err = tree.ReadDir(dir); err != nil || len(tree.Diff(tr, got)) != 1 {
		t.Errorf("a file cut short was not seen: %v", err)
	}
}

// TestZstdForeign: zstd(1) reads the packed segment, zeros after it and all,
// and the frame asks for no more history than the kernel gives.
func TestZstdForeign(t *testing.T) {
	tr := sample(t)
	plain := segment(t, tr, epoch, None)
	for _, c := range []Compression{ZstdFast, ZstdDefault, ZstdBest} {
		data := segment(t, tr, epoch, c)
		if len(data)%blockSize != 0 || len(data) > len(plain)/10 {
			t.Errorf("compression %d: %d bytes of %d", c, len(data), len(plain))
		}
		var h zstd.Header
		if err := h.Decode(data); err != nil || h.SingleSegment || h.WindowSize > window {
			t.Errorf("compression %d: header %+v, %v", c, h, err)
		}
		if _, err := exec.LookPath("zstd"); err != nil {
			t.Skip("zstd(1) not installed")
		}
		cmd := exec.Command("zstd", "-d", "-c", "--no-progress", "-q")
		cmd.Stdin = bytes.NewReader(bytes.TrimRight(data, "\x00"))
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, plain) {
			t.Errorf("compression %d: zstd(1) gives %d bytes, %v", c, len(out), err)
		}
	}
}

func TestReadBack(t *testing.T) {
	for _, c := range []Compression{None, ZstdFast, ZstdBest} {
		got, err := Read(bytes.NewReader(segment(t, sample(t), epoch, c)))
		if err != nil {
			t.Fatal(err)
		}
		if d := tree.Diff(sample(t), got); len(d) != 0 {
			t.Errorf("compression %d: %v", c, d)
		}
	}
}

// TestBytesDependOnTreeAndTimeAlone first shows that the comparison can fail.
func TestBytesDependOnTreeAndTimeAlone(t *testing.T) {
	for _, c := range []Compression{None, ZstdFast, ZstdDefault, ZstdBest} {
		first := sha256.Sum256(segment(t, sample(t), epoch, c))
		if sha256.Sum256(segment(t, sample(t), epoch+1, c)) == first {
			t.Error("another time gives the same bytes")
		}
		more := sample(t)
		if err := more.Put("zz", tree.Dir(0o755)); err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(segment(t, more, epoch, c)) == first {
			t.Error("another tree gives the same bytes")
		}
		for _, procs := range []int{1, 2, 7} {
			old := runtime.GOMAXPROCS(procs)
			again := sha256.Sum256(segment(t, sample(t), epoch, c))
			runtime.GOMAXPROCS(old)
			if again != first {
				t.Errorf("compression %d: %d processors give other bytes", c, procs)
			}
		}
	}
}

// TestPinned: an archive's digest is part of an image's identity.
func TestPinned(t *testing.T) {
	const want = "12cfe44bb5c11e5106067ea04e8b8410180ff7958af2107cf015043646154494"
	if got := fmt.Sprintf("%x", sha256.Sum256(segment(t, sample(t), epoch, None))); got != want {
		t.Errorf("digest is %s, was %s", got, want)
	}
}

// promise is a Blob whose content is not as long as it says.
type promise struct {
	tree.Blob
	size int64
}

func (p promise) Size() int64 { return p.size }

func TestWriteRefuses(t *testing.T) {
	content := tree.Bytes([]byte("four"))
	for name, tc := range map[string]struct {
		path  string
		e     tree.Entry
		mtime int64
	}{
		"4 GiB":          {"x", tree.Regular(0o644, promise{content, 1 << 32}), epoch},
		"short content":  {"x", tree.Regular(0o644, promise{content, 5}), epoch},
		"long content":   {"x", tree.Regular(0o644, promise{content, 3}), epoch},
		"lost content":   {"x", tree.Regular(0o644, tree.File("/nonexistent", 1, [32]byte{})), epoch},
		"trailer":        {trailer, tree.Dir(0o755), epoch},
		"time too late":  {"x", tree.Dir(0o755), 1 << 32},
		"time too early": {"x", tree.Dir(0o755), -1},
	} {
		tr := tree.New()
		if err := tr.Put(tc.path, tc.e); err != nil {
			t.Fatal(err)
		}
		for _, c := range []Compression{None, ZstdFast} {
			if err := Segment(io.Discard, tr, tc.mtime, c); err == nil {
				t.Errorf("%s: was written", name)
			}
		}
	}
	if err := Segment(io.Discard, tree.New(), 0, 99); err == nil {
		t.Error("unknown compression was taken")
	}
}

// fullDisk takes n bytes.
type fullDisk struct{ n int }

var errFull = errors.New("no space left")

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.n {
		return 0, errFull
	}
	d.n -= len(p)
	return len(p), nil
}

func TestWriteErrorsArrive(t *testing.T) {
	for _, c := range []Compression{None, ZstdFast, ZstdBest} {
		total := len(segment(t, sample(t), epoch, c))
		for _, n := range []int{0, 100, total / 2, total - 1} {
			if err := Segment(&fullDisk{n}, sample(t), epoch, c); !errors.Is(err, errFull) {
				t.Errorf("compression %d, disk of %d bytes: %v", c, n, err)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := segment(t, sample(t), epoch, None)
	for name, data := range map[string][]byte{
		"empty":       nil,
		"cut":         good[:len(good)/2],
		"bad magic":   append([]byte("070707"), good[6:]...),
		"bad number":  append([]byte("070701zzzzzzzz"), good[14:]...),
		"zstd of not": packed(t, []byte("no archive")),
	} {
		if _, err := Read(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: was read", name)
		}
	}
}

func packed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzRead: what is read can be written, and reads the same again.
func FuzzRead(f *testing.F) {
	tr := sample(f)
	tr.Remove("bbin/bb")
	f.Add(segment(f, tr, epoch, None))
	f.Add(segment(f, tree.New(), 0, None))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		back, err := Read(bytes.NewReader(segment(t, tr, 0, None)))
		if err != nil {
			t.Fatal(err)
		}
		if d := tree.Diff(tr, back); len(d) != 0 {
			t.Error(d)
		}
	})
}
