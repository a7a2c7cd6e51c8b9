package verbs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/load/transfer"
	"picolab/guestagent/wire"
)

func TestFilesRoundTrip(t *testing.T) {
	c := local(t)
	name := filepath.Join(t.TempDir(), "f")
	for _, n := range []int64{0, 1, wire.Chunk, wire.Chunk + 1, wire.Chunk * (3*wire.Window + 1)} {
		in := sha256.New()
		put, putSum, err := c.Put(t.Context(), name, 0o640, io.TeeReader(io.LimitReader(transfer.Content(7), n), in))
		must(t, err)
		var out bytes.Buffer
		got, gotSum, err := c.Get(t.Context(), name, &out)
		must(t, err)
		want := hex.EncodeToString(in.Sum(nil))
		if put != n || got != n || int64(out.Len()) != n || putSum != want || gotSum != want {
			t.Errorf("%d bytes: put %d %s, got %d %s, want %s", n, put, putSum, got, gotSum, want)
		}
	}
	fi, err := c.Stat(t.Context(), name)
	must(t, err)
	if fi.Mode&0o7777 != 0o640 || fi.Mode&syscall.S_IFMT != syscall.S_IFREG {
		t.Errorf("mode %o", fi.Mode)
	}
}

// TestPutIsAtomic breaks a transfer off: the old content stays and nothing else is left.
func TestPutIsAtomic(t *testing.T) {
	c := local(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	must(t, c.WriteFile(t.Context(), name, 0, []byte("old")))
	ctx, cancel := context.WithCancel(t.Context())
	broken := io.MultiReader(io.LimitReader(transfer.Content(1), 3<<20), readerFunc(func([]byte) (int, error) { cancel(); return 0, errors.New("torn") }))
	if _, _, err := c.Put(ctx, name, 0, broken); err == nil {
		t.Error("no error")
	}
	for range 100 {
		if e, err := os.ReadDir(dir); err == nil && len(e) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	e, err := os.ReadDir(dir)
	must(t, err)
	b, err := c.ReadFile(t.Context(), name)
	must(t, err)
	if len(e) != 1 || string(b) != "old" {
		t.Errorf("%v, content %q", e, b)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestFileErrors(t *testing.T) {
	c := local(t)
	dir := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for name, tt := range map[string]struct {
		call func() error
		code wire.Code
		is   error
	}{
		"get missing":     {func() error { _, err := c.ReadFile(t.Context(), dir+"/x"); return err }, wire.Code_NOT_FOUND, fs.ErrNotExist},
		"get folder":      {func() error { _, err := c.ReadFile(t.Context(), dir); return err }, wire.Code_GUEST, syscall.EISDIR},
		"get relative":    {func() error { _, err := c.ReadFile(t.Context(), "x"); return err }, wire.Code_INVALID, nil},
		"put in nothing":  {func() error { return c.WriteFile(t.Context(), dir+"/x/y", 0, nil) }, wire.Code_NOT_FOUND, fs.ErrNotExist},
		"put over folder": {func() error { return c.WriteFile(t.Context(), dir, 0, nil) }, wire.Code_GUEST, nil},
		"put in missing sysctl": {func() error { return c.WriteFile(t.Context(), "/proc/sys/net/nope", 0, []byte("1")) },
			wire.Code_NOT_FOUND, fs.ErrNotExist},
		"remove root": {func() error { return c.Remove(t.Context(), "/", true) }, wire.Code_INVALID, nil},
		"remove full": {func() error { return c.Remove(t.Context(), dir, false) }, wire.Code_GUEST, syscall.ENOTEMPTY},
		"sysctl":      {func() error { return c.Sysctl(t.Context(), "../../etc/passwd", "1") }, wire.Code_INVALID, nil},
	} {
		err := tt.call()
		if wire.CodeOf(err) != tt.code || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v (%v), want %v", name, err, wire.CodeOf(err), tt.code)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.ReadFile(ctx, dir+"/fifo"); err != nil && wire.CodeOf(err) != wire.Code_DEADLINE {
		t.Errorf("fifo: %v", err)
	}
}

func TestReadFileLimit(t *testing.T) {
	c := local(t)
	name := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(name)
	must(t, err)
	must(t, f.Truncate(65<<20))
	must(t, f.Close())
	if _, err := c.ReadFile(t.Context(), name); wire.CodeOf(err) != wire.Code_TOO_BIG {
		t.Errorf("error %v", err)
	}
}

func TestFolders(t *testing.T) {
	c := local(t)
	dir := t.TempDir()
	must(t, c.Mkdir(t.Context(), dir+"/a/b", 0))
	must(t, os.Symlink("b", dir+"/a/l"))
	must(t, c.WriteFile(t.Context(), dir+"/a/f", 0o755, []byte("x")))
	files, err := c.List(t.Context(), dir+"/a")
	must(t, err)
	var got []string
	for _, f := range files {
		got = append(got, f.Name+">"+f.Link)
	}
	if s := strings.Join(got, " "); s != "b> f> l>b" {
		t.Errorf("list %q", s)
	}
	must(t, c.Remove(t.Context(), dir+"/a", true))
	if _, err := c.Stat(t.Context(), dir+"/a"); wire.CodeOf(err) != wire.Code_NOT_FOUND {
		t.Errorf("after remove: %v", err)
	}
}

func TestSysctl(t *testing.T) {
	c := local(t)
	must(t, c.Sysctl(t.Context(), "net.ipv4.ip_forward", "1"))
	v, err := c.ReadSysctl(t.Context(), "net/ipv4/ip_forward")
	must(t, err)
	if v != "1" {
		t.Errorf("ip_forward %q", v)
	}
	b, err := c.ReadFile(t.Context(), "/proc/sys/net/ipv4/ip_forward")
	must(t, err)
	if string(b) != "1\n" {
		t.Errorf("file %q", b)
	}
	must(t, c.WriteFile(t.Context(), "/proc/sys/net/ipv4/ip_forward", 0, []byte("0")))
	if v, _ := c.ReadSysctl(t.Context(), "net.ipv4.ip_forward"); v != "0" {
		t.Errorf("ip_forward %q after writing the file", v)
	}
}
