package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
	encoded, err := json.Marshal(item)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PICOLAB_FETCH_STAGE="+string(encoded))
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
	if !strings.Contains(got.First, "no space left on device") || !strings.Contains(got.First, item.SHA256+".part") {
		t.Errorf("the full disk's error is %q", got.First)
	}
	if len(got.Names) != 0 {
		t.Errorf("under final names: %v", got.Names)
	}
	if got.Second != "" || !got.Stored {
		t.Errorf("with room: %q, stored %v", got.Second, got.Stored)
	}
}

// runStage is the inner process: it mounts the small file system where nobody else sees it.
func runStage(encoded string) int {
	var item Item
	if err := json.Unmarshal([]byte(encoded), &item); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	result, err := fillDisk(item)
	if err != nil {
		result.Skip = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return 1
	}
	return 0
}

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
