package initrd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// oddSegments end off a multiple of four bytes.
func oddSegments(t *testing.T) []string {
	t.Helper()
	var paths []string
	for i, data := range []string{"one", "twoooo", "four"} {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.cpio", i))
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestWriteInitrd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "initrd")
	want := Boot{Token: NewToken(), Image: "id", Hostname: "a", Port: 1024}
	if err := Write(path, oddSegments(t), false, want); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const segments = "one\x00twoooo\x00\x00four"
	if !bytes.HasPrefix(data, []byte(segments+"070701")) {
		t.Fatalf("segments are not padded to four bytes: %q", data[:40])
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v lets others read the token", info.Mode())
	}
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio(1) not installed")
	}
	cmd := exec.Command(cpio, "-i", "--quiet", "--to-stdout", "etc/picolab/boot.json")
	cmd.Stdin = bytes.NewReader(data[len(segments):])
	out, err := cmd.Output()
	var got Boot
	if err != nil || json.Unmarshal(out, &got) != nil || got != want {
		t.Errorf("cpio: %v, %q, want %+v", err, out, want)
	}
}

func TestWriteInitrdMissingSegment(t *testing.T) {
	segments := oddSegments(t)
	os.Remove(segments[1])
	path := filepath.Join(t.TempDir(), "initrd")
	if err := Write(path, segments, false, Boot{}); err == nil {
		t.Error("a missing segment is no error")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("half an initrd has its final name")
	}
}

func TestTokens(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a == b || len(a) != 32 {
		t.Errorf("tokens %s and %s", a, b)
	}
}
