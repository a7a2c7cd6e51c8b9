package squash

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"picolab/initramfs/internal/leak"
	"picolab/initramfs/tree"
)

func TestMain(m *testing.M) { leak.Main(m) }

const epoch = 1_700_000_000

// sample has every type of file, an owner, a set-user-ID bit, and a name and a target too long for a plain tar header.
func sample(t *testing.T) *tree.Tree {
	t.Helper()
	s := tree.New()
	owned := tree.Regular(0o4755, tree.Bytes([]byte("content")))
	owned.UID, owned.GID = 3, 4
	long := strings.Repeat("a-very-long-name-of-a-folder/", 5) + "file"
	for path, e := range map[string]tree.Entry{
		"bin/tool": owned, "dev/null": tree.CharDevice(0o666, 1, 3), "dev": tree.Dir(0o755), "tmp": tree.Dir(0o1777),
		"link": tree.Symlink(long), long: tree.Regular(0o600, tree.Bytes(bytes.Repeat([]byte("x"), 300_000))),
	} {
		if err := s.Put(path, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestTar(t *testing.T) {
	var b bytes.Buffer
	if err := Tar(t.Context(), &b, sample(t), epoch); err != nil {
		t.Fatal(err)
	}
	seen := map[string]*tar.Header{}
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		seen[h.Name] = h
		if h.ModTime.Unix() != epoch {
			t.Errorf("%s: time %v", h.Name, h.ModTime)
		}
	}
	if h := seen["bin/tool"]; h == nil || h.Mode != 0o4755 || h.Uid != 3 || h.Gid != 4 || h.Size != 7 {
		t.Errorf("%+v", h)
	}
	if h := seen["dev/null"]; h == nil || h.Typeflag != tar.TypeChar || h.Devmajor != 1 || h.Devminor != 3 {
		t.Errorf("%+v", h)
	}
	if h := seen["tmp/"]; h == nil || h.Mode != 0o1777 || h.Typeflag != tar.TypeDir {
		t.Errorf("%+v", h)
	}
}

func TestTarEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Tar(ctx, new(bytes.Buffer), sample(t), epoch); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNoTool(t *testing.T) {
	var missing *ToolError
	out := filepath.Join(t.TempDir(), "root")
	if err := Write(t.Context(), sample(t), Options{Tools: t.TempDir(), Output: out}); !errors.As(err, &missing) || !strings.Contains(err.Error(), "squashfs-tools") {
		t.Errorf("error %v", err)
	}
}

// tools is the root filesystem of the host image.
func tools(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PICOLAB_IMAGES")
	if dir == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	return filepath.Join(dir, "host/root")
}

// TestSameBytes also lets another program, unsquashfs, say what is in the file.
func TestSameBytes(t *testing.T) {
	root := tools(t)
	write := func() string {
		out := filepath.Join(t.TempDir(), "root.squashfs")
		if err := Write(t.Context(), sample(t), Options{Tools: root, Output: out, Epoch: epoch}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := write()
	old := syscall.Umask(0o077)
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	t.Setenv("TZ", "Pacific/Kiritimati")
	second := write()
	syscall.Umask(old)
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if err := errors.Join(errA, errB); err != nil || !bytes.Equal(a, b) || len(a) == 0 {
		t.Fatalf("two files differ (%d and %d bytes): %v", len(a), len(b), err)
	}
	lib := filepath.Join(root, libraries)
	cmd := exec.Command(filepath.Join(root, linker), "--library-path", lib, filepath.Join(root, "usr/bin/unsquashfs"), "-llnumeric", first)
	cmd.Env = []string{"TZ=UTC"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	listing := strings.Join(strings.Fields(string(out)), " ")
	for _, want := range []string{"-rwsr-xr-x 3/4 7 2023-11-14 22:13", "drwxrwxrwt 0/0", "crw-rw-rw- 0/0 1, 3", "link -> a-very-long-name"} {
		if !strings.Contains(listing, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestFailureLeavesNothing writes to where there is no room for names, and has the tool fail in the middle.
func TestFailureLeavesNothing(t *testing.T) {
	root := tools(t)
	dir := t.TempDir()
	gone := tree.New()
	content := filepath.Join(dir, "content")
	if err := os.WriteFile(content, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	blob, err := tree.OpenFile(content)
	if err == nil {
		err = gone.Put("file", tree.Regular(0o644, blob))
	}
	if err == nil {
		err = os.WriteFile(content, []byte("otherwise"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "root.squashfs")
	if err := Write(t.Context(), gone, Options{Tools: root, Output: out}); err == nil {
		t.Error("content that changed is taken")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("half a file is left")
	}
}
