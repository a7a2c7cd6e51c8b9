package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stageResult is what the process inside the namespace reports.
type stageResult struct {
	Skip          string
	First, Second string   // errors of the fetch on the full disk, and of the one after room was made
	Names         []string // files under final names after the first
	Stored        bool
}

// TestFullDisk fetches into a real file system of 1 MiB: the error names the path, nothing gets its final name, and with
// room the next run completes.
func TestFullDisk(t *testing.T) {
	data := content(10, 3<<20)
	item := itemOf(serve(t, serveData(data)), data)
	cmd := stageCommand(t, stage{Item: item})
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
			t.Skipf("user namespaces are not allowed: %v", err)
		}
		t.Fatal(err)
	}
	var got stageResult
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if got.Skip != "" {
		t.Skip(got.Skip)
	}
	if !strings.Contains(got.First, "no space left on device") || !strings.Contains(got.First, item.SHA256+".part") || strings.Contains(got.First, "tried") {
		t.Errorf("the full disk's error is %q", got.First)
	}
	if len(got.Names) != 0 {
		t.Errorf("under final names: %v", got.Names)
	}
	if got.Second != "" || !got.Stored {
		t.Errorf("with room: %q, stored %v", got.Second, got.Stored)
	}
}

// A stage is what this test program does when it is started again: with a folder it fetches into it, without one it
// fills a disk.
type stage struct {
	Item Item
	Dir  string
}

func stageCommand(t *testing.T, s stage) *exec.Cmd {
	t.Helper()
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PICOLAB_FETCH_STAGE="+string(encoded))
	return cmd
}

func runStage(encoded string) int {
	var s stage
	if err := json.Unmarshal([]byte(encoded), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if s.Dir != "" {
		store, err := Open(s.Dir)
		if err == nil {
			err = store.Fetch(context.Background(), []Item{s.Item}, Options{})
		}
		fmt.Fprintln(os.Stderr, message(err))
		return 0
	}
	result, err := fillDisk(s.Item)
	if err != nil {
		result.Skip = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return 1
	}
	return 0
}

// TestKilled kills a fetching process at growing points: nothing has its final name, and the next one goes on from what
// was there.
func TestKilled(t *testing.T) {
	data := content(11, 1<<20)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { serveData(data)(slowly{w}, r) })
	s, item := open(t), itemOf(url, data)
	for i := range 5 {
		cmd := stageCommand(t, stage{Item: item, Dir: s.dir})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		awaitPart(t, s.part(item.SHA256), int64(1+i*100_000))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if left := finals(t, s); len(left) != 0 {
			t.Fatalf("after kill %d: %v", i, left)
		}
	}
	if err := s.Fetch(context.Background(), []Item{item}, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(context.Background(), item.SHA256); err != nil {
		t.Error(err)
	}
}

// awaitPart waits until a part has so many bytes.
func awaitPart(t *testing.T, path string, size int64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && info.Size() >= size {
			return
		}
	}
	t.Fatalf("%s did not grow to %d bytes", path, size)
}

// slowly sends about 1 MB/s.
type slowly struct{ http.ResponseWriter }

func (w slowly) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = w.ResponseWriter.Write(p[n:min(n+4096, len(p))])
		n += m
		w.ResponseWriter.(http.Flusher).Flush()
		time.Sleep(4 * time.Millisecond)
	}
	return n, err
}

// fillDisk mounts a small file system where nobody else sees it.
func fillDisk(item Item) (r stageResult, err error) {
	dir := os.TempDir()
	if err := unix.Mount("picolab", dir, "tmpfs", 0, "size=1m"); err != nil {
		return r, fmt.Errorf("cannot mount a tmpfs: %w", err)
	}
	s, err := Open(filepath.Join(dir, "store"))
	if err != nil {
		return r, err
	}
	r.First = message(s.Fetch(context.Background(), []Item{item}, Options{}))
	r.Names, err = filepath.Glob(filepath.Join(s.dir, "sha256", "*", "*"))
	if err != nil {
		return r, err
	}
	if err := unix.Mount("picolab", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		return r, fmt.Errorf("cannot enlarge the tmpfs: %w", err)
	}
	r.Second = message(s.Fetch(context.Background(), []Item{item}, Options{}))
	r.Stored = s.Has(item.SHA256, item.Size) && s.Verify(context.Background(), item.SHA256) == nil
	return r, nil
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
