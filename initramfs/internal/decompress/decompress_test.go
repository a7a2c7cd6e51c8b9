package decompress

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"picolab/initramfs/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// packed has the system's own tools compress text.
func packed(t *testing.T, text string, argv ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("%s(1) not installed", argv[0])
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unpack(suffix string, data []byte) (string, error) {
	r, err := Open(suffix, bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	return string(out), err
}

func TestForeignTools(t *testing.T) {
	text := strings.Repeat("all work and no play ", 100_000)
	for _, tool := range []struct {
		suffix string
		argv   []string
	}{
		{".xz", []string{"xz", "-9"}},
		{".xz", []string{"xz", "--check=crc32", "--lzma2=dict=1MiB"}}, // as kernels do
		{".xz", []string{"xz", "-T2", "--block-size=100000"}},         // as dpkg does
		{".zst", []string{"zstd", "-19"}},
		{".zst", []string{"zstd", "--long=26"}},
		{".gz", []string{"gzip"}},
		{"", []string{"cat"}},
	} {
		t.Run(strings.Join(tool.argv, " "), func(t *testing.T) {
			data := packed(t, text, tool.argv...)
			if got, err := unpack(tool.suffix, data); err != nil || got != text {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if tool.suffix == "" {
				return
			}
			if _, err := unpack(tool.suffix, data[:len(data)-5]); err == nil {
				t.Error("a truncated stream was taken")
			}
			data[len(data)/2] ^= 0x10
			if got, err := unpack(tool.suffix, data); err == nil && got == text {
				t.Error("a changed stream gave the same text")
			} else if err == nil {
				t.Error("a changed stream was taken")
			}
		})
	}
}

func TestWindowIsBounded(t *testing.T) {
	text := strings.Repeat("x", 1000)
	for _, tool := range []struct {
		suffix string
		argv   []string
	}{
		{".xz", []string{"xz", "--lzma2=dict=256MiB"}},
		{".zst", []string{"zstd", "--long=30", "--no-check"}},
	} {
		data := packed(t, text, tool.argv...)
		if _, err := unpack(tool.suffix, data); err == nil {
			t.Errorf("%v: was taken", tool.argv)
		}
	}
}

func TestUnknown(t *testing.T) {
	if _, err := Open(".lzma", strings.NewReader("")); err == nil {
		t.Error("unknown compression was taken")
	}
}

func TestLimit(t *testing.T) {
	for max, ok := range map[int64]bool{0: false, 1: false, 9: false, 10: true, 11: true, 1 << 62: true} {
		got, err := io.ReadAll(Limit(strings.NewReader("0123456789"), max))
		var over *LimitError
		if ok != (err == nil) || (!ok && (!errors.As(err, &over) || int64(len(got)) != max)) {
			t.Errorf("max %d: %q, %v", max, got, err)
		}
	}
}
