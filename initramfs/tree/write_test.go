package tree

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
)

// writable lets the test's clean-up remove folders without write permission.
func writable(t *testing.T, dir string) {
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(p, 0o700)
			}
			return nil
		})
	})
}

// TestWriteDirIsExact writes under several umasks and has find(1) tell what is
// there.
func TestWriteDirIsExact(t *testing.T) {
	find, err := exec.LookPath("find")
	if err != nil {
		t.Skip("find(1) not installed")
	}
	want := strings.Join([]string{
		"d 555 ro ", "d 1777 tmp ", "d 755 dev ", "d 755 etc ", "d 755 usr ", "d 755 usr/bin ",
		"f 400 etc/secret ", "f 644 ro/file ", "f 644 usr/bin-old ", "f 755 usr/bin/su ", "f 755 usr/bin/x ",
		"l 777 bin usr/bin",
	}, "\n")
	for _, umask := range []int{0, 0o022, 0o077} {
		dir := filepath.Join(t.TempDir(), "root")
		writable(t, dir)
		old := syscall.Umask(umask)
		err := sample(t).WriteDir(t.Context(), dir, WriteOptions{})
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(find, dir, "-mindepth", "1", "-printf", `%y %m %P %l\n`).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		sort.Strings(lines)
		if got := strings.Join(lines, "\n"); !sameLines(got, want) {
			t.Errorf("umask %03o: got\n%s\nwant\n%s", umask, got, want)
		}
		back, err := ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if d := Diff(sample(t).Unprivileged(), back); len(d) != 0 {
			t.Errorf("umask %03o: %v", umask, d)
		}
	}
}

func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	sort.Strings(x)
	sort.Strings(y)
	return strings.Join(x, "\n") == strings.Join(y, "\n")
}

// TestReadDirSeesChanges shows that the comparison above can fail.
func TestReadDirSeesChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root")
	writable(t, dir)
	if err := sample(t).WriteDir(t.Context(), dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "usr/bin/x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/bin-old"), []byte("OLD"), 0o644); err != nil {
		t.Fatal(err)
	}
	back, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := Diff(sample(t).Unprivileged(), back)
	if len(d) != 2 || d[0].Path != "usr/bin-old" || d[1].What != "mode 0755, 0700" {
		t.Errorf("got %v", d)
	}
}

func TestWriteDirTouchesNothingElse(t *testing.T) {
	outer := t.TempDir()
	tr := New()
	put(t, tr, "up", Symlink(".."))
	put(t, tr, "abs", Symlink(outer))
	put(t, tr, "d/f", text("x"))

	full := filepath.Join(outer, "full")
	if err := os.MkdirAll(filepath.Join(full, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := tr.WriteDir(t.Context(), full, WriteOptions{}); err == nil {
		t.Error("wrote into a folder that was not empty")
	}
	if err := tr.WriteDir(t.Context(), filepath.Join(outer, "new"), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(outer)
	if err != nil || len(names) != 2 {
		t.Errorf("outside of the folder: %v, %v", names, err)
	}
}

func TestWriteDirStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := filepath.Join(t.TempDir(), "root")
	writable(t, dir)
	var seen int
	opt := WriteOptions{Progress: func(entries int, _ int64) {
		if seen = entries; entries == 3 {
			cancel()
		}
	}}
	if err := sample(t).WriteDir(ctx, dir, opt); !errors.Is(err, context.Canceled) || seen != 3 {
		t.Errorf("got %v after %d entries", err, seen)
	}
}

func TestWriteDirNamesBadContent(t *testing.T) {
	tr := New()
	put(t, tr, "usr/lib/bad", Regular(0o644, File(filepath.Join(t.TempDir(), "gone"), 5, [32]byte{})))
	err := tr.WriteDir(t.Context(), filepath.Join(t.TempDir(), "root"), WriteOptions{})
	if err == nil || !strings.Contains(err.Error(), "usr/lib/bad") {
		t.Errorf("got %v", err)
	}
}
