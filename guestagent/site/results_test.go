package site

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// results makes a folder like one that hostctl leaves.
func results(b *bench) string {
	dir := b.t.TempDir()
	for name, text := range map[string]string{
		"run.json": "{}", ".lock": "", "cases/vnic.x[nic=e1000]/con:sole?.log": "text", "cases/CON/a.": "1", "cases/con/b": "2", "Report.html": "A", "report.html": "B",
	} {
		b.put(dir, name, text)
	}
	if err := os.Symlink("run.json", filepath.Join(dir, "link")); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

func TestSave(t *testing.T) {
	b := newBench(t, map[string]string{"picolab/results/007/x": "old", "picolab/results/.unfinished-008/y": "left by a power cut", "picolab/results/notes.txt": "mine"})
	s := Open(b.o)
	name, err := s.Save(results(b))
	if err != nil || name != "picolab/results/008" {
		t.Fatalf("%q, %v", name, err)
	}
	dir := filepath.Join(b.stick, name)
	files, err := regular(dir)
	want := []string{"Report.html", "cases/_CON/a_", "cases/_con~2/b", "cases/vnic.x[nic=e1000]/con_sole_.log", "report~2.html", "run.json"}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("%q, %v", files, err)
	}
	entries, err := os.ReadDir(filepath.Join(b.stick, Results))
	if err != nil || len(entries) != 3 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
	if !slices.Equal(b.writable, []bool{true, false}) {
		t.Errorf("remounted %v", b.writable)
	}
	if name, err := s.Save(results(b)); err != nil || name != "picolab/results/009" {
		t.Errorf("then %q, %v", name, err)
	}
}

func TestWriteProtected(t *testing.T) {
	b := newBench(t, nil)
	b.o.remount = func(string, bool) error { return unix.EROFS }
	_, err := Open(b.o).Save(results(b))
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), b.stick) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.stick, Results)); !os.IsNotExist(err) {
		t.Error("something was written all the same")
	}
}

// TestFull: on a stick that is full a run leaves nothing, and the error says where it should have been.
func TestFull(t *testing.T) {
	b := newBench(t, nil)
	denied := make(chan error)
	go func() {
		runtime.LockOSThread() // the mount goes with the thread
		defer close(denied)
		if err := smallMount(b.stick); err != nil {
			denied <- err
			return
		}
		testFull(b)
	}()
	if err := <-denied; err != nil {
		t.Skip("a small file system needs CAP_SYS_ADMIN: ", err)
	}
}

// smallMount puts 64 KiB of memory on a folder, for this thread alone.
func smallMount(dir string) error {
	err := unix.Unshare(unix.CLONE_NEWNS)
	if err == nil {
		err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	}
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k")
	}
	return err
}

func testFull(b *bench) {
	dir := results(b)
	b.put(dir, "zz-big", strings.Repeat("x", 100<<10))
	s := Open(b.o)
	_, err := s.Save(dir)
	where := filepath.Join(b.stick, Results, "001")
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), "zz-big") {
		b.t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(where)); err != nil || len(entries) != 0 {
		b.t.Errorf("left behind: %v, %v", entries, err)
	}
	if len(b.writable) != 2 || b.writable[1] {
		b.t.Errorf("remounted %v", b.writable)
	}
	if err := os.Remove(filepath.Join(dir, "zz-big")); err != nil {
		b.t.Error(err)
	}
	if name, err := s.Save(dir); err != nil || name != Results+"/001" {
		b.t.Errorf("the next one: %q, %v", name, err)
	}
}

func TestFATNames(t *testing.T) {
	for name, want := range map[string]string{
		"plain.txt": "plain.txt", `a"*/:<>?\|b`: "a_________b", "tab\tnew\nline": "tab_new_line", "dots...": "dots___", "blank ": "blank_", "": "_",
		"con": "_con", "COM1.log": "_COM1.log", "console.log": "console.log", "größe": "gr__e", "vnic.x[nic=e1000]": "vnic.x[nic=e1000]", ".": "_", "..": "__",
		strings.Repeat("n", 300): strings.Repeat("n", maxName),
	} {
		got := fatName(name)
		if got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	taken := map[string]bool{}
	for i, want := range []string{"a.log", "A~2.log", "a~3.log"} {
		if got := freeName(taken, []string{"a.log", "A.log", "a.log"}[i]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
