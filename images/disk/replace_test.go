package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	write(t, path, []byte("old"))
	spoilt := errors.New("spoilt")
	err := replaceFile(path, func(f *os.File) error {
		_, _ = f.WriteString("half")
		return spoilt
	})
	if data, _ := os.ReadFile(path); !errors.Is(err, spoilt) || string(data) != "old" {
		t.Errorf("%v, %q", err, data)
	}
	err = replaceFile(path, func(f *os.File) error {
		if left, _ := os.ReadDir(dir); len(left) != 1 && f.Name() == filepath.Join(dir, "new file") {
			t.Errorf("a name before it is complete: %v", left)
		}
		_, err := f.WriteString("new")
		return err
	})
	if data, _ := os.ReadFile(path); err != nil || string(data) != "new" {
		t.Errorf("%v, %q", err, data)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := replaceFile(filepath.Join(dir, "missing", "disk"), func(*os.File) error { return nil }); err == nil {
		t.Error("no folder, no error")
	}
}

// TestFull writes to a file system that is too small.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	m, l := small(t)
	o := &Options{Image: m, Layout: GPT}
	files := espFiles(m, l)
	p := newPlan(o, files)
	for format, fill := range map[Format]func(*os.File) error{
		Raw:   func(f *os.File) error { return p.raw(t.Context(), f, l, files) },
		QCOW2: func(f *os.File) error { return p.qcow2(t.Context(), f, l, files, o.packer()) },
	} {
		err := replaceFile(filepath.Join(dir, "disk"), fill)
		if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
			t.Errorf("%s: got %v", format, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left behind: %v", format, left)
		}
	}
}
