package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sample writes an image of two files and returns its directory.
func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	m := &Manifest{Name: "host", Kind: KindHost, CommandLine: []string{"quiet"}, RootFS: &RootFS{Name: "root", SHA256: digest("root"), Entries: 3}}
	for _, f := range []struct{ name, role string }{{"vmlinuz", RoleKernel}, {"base.cpio", RoleSegment}, {"last.cpio", RoleSegment}, {"sbom.json", RoleSBOM}} {
		write(t, filepath.Join(dir, f.name), []byte(f.name))
		m.Files = append(m.Files, File{f.name, f.role, int64(len(f.name)), digest(f.name)})
	}
	write(t, filepath.Join(dir, Name), m.Encode())
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func digest(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	dir := sample(t)
	m, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Kernel(), filepath.Join(dir, "vmlinuz"); got != want {
		t.Errorf("kernel %s, want %s", got, want)
	}
	if got, want := m.Segments(), []string{filepath.Join(dir, "base.cpio"), filepath.Join(dir, "last.cpio")}; !slices.Equal(got, want) {
		t.Errorf("segments %s, want %s", got, want)
	}
	if got, want := m.Root(), filepath.Join(dir, "root"); got != want {
		t.Errorf("root %s, want %s", got, want)
	}
	if got, want := m.BootSize(), int64(7+9+9); got != want {
		t.Errorf("boots from %d bytes, want %d", got, want)
	}
	if err := m.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil || !bytes.Equal(m.Encode(), data) {
		t.Errorf("encoding again: %v\n%s", err, m.Encode())
	}
}

func TestReadRefuses(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(sample(t), Name))
	if err != nil {
		t.Fatal(err)
	}
	id := func(m *Manifest) []byte { return m.Encode() }
	tests := []struct{ name, want, data string }{
		{"edit", "does not match the contents", strings.Replace(string(good), "quiet", "debug", 1)},
		{"format", "format 2", strings.Replace(string(good), `"format": 1`, `"format": 2`, 1)},
		{"not JSON", "parse", "{"},
		{"escape", "not plain", string(id(&Manifest{Files: []File{{"../x", RoleKernel, 1, digest("")}}}))},
		{"itself", "not plain", string(id(&Manifest{Files: []File{{Name, RoleKernel, 1, digest("")}}}))},
		{"twice", "not unique", string(id(&Manifest{Files: []File{{"x", RoleKernel, 1, digest("")}, {"x", RoleSBOM, 1, digest("")}}}))},
		{"digest", "bad digest", string(id(&Manifest{Files: []File{{"x", RoleKernel, 1, "ABC"}}}))},
		{"size", "bad digest or size", string(id(&Manifest{Files: []File{{"x", RoleKernel, -1, digest("")}}}))},
		{"root", "bad name", string(id(&Manifest{RootFS: &RootFS{Name: "..", SHA256: digest("")}}))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, Name), []byte(tt.data))
			if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "labimage build") {
		t.Errorf("no manifest: %v, want the remedy", err)
	}
}

func TestVerifyFindsEveryChange(t *testing.T) {
	tests := map[string]func(dir string) error{
		"content": func(dir string) error { return os.WriteFile(filepath.Join(dir, "vmlinuz"), []byte("VMLINUZ"), 0o644) },
		"size":    func(dir string) error { return os.Truncate(filepath.Join(dir, "base.cpio"), 1) },
		"missing": func(dir string) error { return os.Remove(filepath.Join(dir, "sbom.json")) },
		"root":    func(dir string) error { return os.Remove(filepath.Join(dir, "root")) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			dir := sample(t)
			m, err := Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			var mismatch *MismatchError
			if err := m.Verify(t.Context()); !errors.As(err, &mismatch) {
				t.Errorf("error %v, want a MismatchError", err)
			}
		})
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	m, err := Read(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// FuzzParse looks for a manifest that is accepted although a name leads out of its directory.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile(filepath.Join(sample(f), Name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		for _, path := range append(m.Segments(), m.Kernel(), m.Root()) {
			if strings.Contains(path, "/") || path == ".." {
				t.Errorf("path %q", path)
			}
		}
	})
}
