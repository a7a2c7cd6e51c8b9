package newc

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestWriteSatisfiesCpio(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio(1) not installed")
	}
	files := []File{
		{Path: "etc/picolab/boot.json", Mode: 0o600, Data: []byte(`{"token":"x"}`)},
		{Path: "etc/picolab/empty", Mode: 0o644},
		{Path: "run.sh", Mode: 0o755, Data: []byte("#!/bin/sh\n")},
	}
	var b bytes.Buffer
	if err := Write(&b, files); err != nil {
		t.Fatal(err)
	}
	if b.Len()%4 != 0 {
		t.Errorf("archive of %d bytes ends off a multiple of 4", b.Len())
	}
	dir := t.TempDir()
	cmd := exec.Command(cpio, "-idm", "--quiet")
	cmd.Dir, cmd.Stdin = dir, &b
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("cpio -id: %v\n%s", err, out)
	}
	for _, f := range files {
		checkFile(t, filepath.Join(dir, f.Path), f)
	}
}

func checkFile(t *testing.T, path string, want File) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Data) || info.Mode().Perm() != want.Mode {
		t.Errorf("%s: %q %v, want %q %v", want.Path, got, info.Mode().Perm(), want.Data, want.Mode)
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	files := []File{{Path: "a/b/c", Mode: 0o644, Data: []byte("1")}, {Path: "a/d", Mode: 0o644}}
	var a, b bytes.Buffer
	if Write(&a, files) != nil || Write(&b, files) != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two archives of the same files differ")
	}
	if n := bytes.Count(a.Bytes(), []byte("a/b\x00")); n != 1 {
		t.Errorf("folder a/b written %d times", n)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, p := range []string{"", "/etc/x", "../x", "a//b", "."} {
		if err := Write(&bytes.Buffer{}, []File{{Path: p}}); err == nil {
			t.Errorf("path %q accepted", p)
		}
	}
	if err := Write(brokenWriter{}, []File{{Path: "a"}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error of the writer lost: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }
