package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSwapHeader asks util-linux what it makes of a swap area of ours, and of one with a wrong byte.
func TestSwapHeader(t *testing.T) {
	blkid, err := exec.LookPath("blkid")
	if err != nil {
		if blkid, err = exec.LookPath("/usr/sbin/blkid"); err != nil {
			t.Skip("blkid of util-linux is not installed")
		}
	}
	const size = 64 << 20
	header, err := swapHeader(size)
	if err != nil {
		t.Fatal(err)
	}
	probe := func(header []byte) string {
		path := filepath.Join(t.TempDir(), "swap")
		if err := os.WriteFile(path, header, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command(blkid, "-p", path).CombinedOutput() // its exit code says what its output does
		return string(out)
	}
	if out := probe(header); !strings.Contains(out, `TYPE="swap"`) || !strings.Contains(out, `VERSION="1"`) {
		t.Errorf("blkid: %s", out)
	}
	header[swapPage-1]++
	if out := probe(header); strings.Contains(out, `TYPE="swap"`) {
		t.Errorf("blkid takes a wrong signature: %s", out)
	}
	for _, size := range []int64{0, swapSmallest - 1, 1 << 62} {
		if _, err := swapHeader(size); err == nil {
			t.Errorf("%d bytes are taken", size)
		}
	}
}
