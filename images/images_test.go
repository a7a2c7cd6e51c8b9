package images_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"picolab/images"
	"picolab/images/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMainReturnsExitCodes(t *testing.T) {
	var stdout, stderr bytes.Buffer
	env := images.Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}
	if code := images.Main(t.Context(), env); code != 2 || stderr.Len() == 0 {
		t.Errorf("without arguments: exit code %d, %q", code, &stderr)
	}
	env.Args = []string{"recipes"}
	if code := images.Main(t.Context(), env); code != 0 || !strings.Contains(stdout.String(), "guest") {
		t.Errorf("recipes: exit code %d, %q", code, &stdout)
	}
}

// built reads an image that make has built.
func built(t testing.TB, name string) *manifest.Manifest {
	t.Helper()
	dir := os.Getenv("PICOLAB_IMAGES")
	if dir == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	m, err := manifest.Read(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// maxBoot is what the guest's kernel and segments may have together, in bytes.
const maxBoot = 20e6

func TestRealGuest(t *testing.T) {
	m := built(t, "guest")
	if err := m.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if size := m.BootSize(); size > maxBoot {
		t.Errorf("boots from %d bytes, more than %.0f", size, maxBoot)
	}
	if m.KernelRelease == "" || len(m.Segments()) != 3 || m.Root() != "" {
		t.Errorf("manifest %+v", m)
	}
}

// TestRealHostRunsQEMU starts the host's QEMU from its root filesystem, by the root filesystem's own loader.
func TestRealHostRunsQEMU(t *testing.T) {
	m := built(t, "host")
	root := m.Root()
	out, err := exec.Command(filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"),
		"--library-path", filepath.Join(root, "usr/lib/x86_64-linux-gnu"), filepath.Join(root, "usr/bin/qemu-system-x86_64"), "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "QEMU emulator version 10.") {
		t.Errorf("%v: %s", err, out)
	}
	for _, file := range []string{"usr/share/seabios/bios-256k.bin", "usr/share/OVMF/OVMF_CODE_4M.fd", "bbin/guestagent", "bin/sh", "proc", "etc/passwd"} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Error(err)
		}
	}
}

// TestRealSegmentsByCPIO has zstd(1) and cpio(1) judge the segments.
func TestRealSegmentsByCPIO(t *testing.T) {
	m := built(t, "guest")
	for _, tool := range []string{"zstd", "cpio"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s(1) not installed", tool)
		}
	}
	var names strings.Builder
	for _, segment := range m.Segments() {
		packed, err := os.ReadFile(segment)
		if err != nil {
			t.Fatal(err)
		}
		// zstd takes the NULs after the frame for the beginning of another one, and says so.
		unzstd := exec.Command("zstd", "-dc")
		unzstd.Stdin = bytes.NewReader(bytes.TrimRight(packed, "\x00"))
		archive, _ := unzstd.Output()
		list := exec.Command("cpio", "-t", "--quiet")
		list.Stdin = bytes.NewReader(archive)
		out, err := list.Output()
		if err != nil {
			t.Errorf("%s: %v", segment, err)
		}
		names.Write(out)
	}
	for _, want := range []string{"init\n", "dev/console\n", "bbin/bb\n", "bbin/guestagent\n", "lib/modules/" + m.KernelRelease + "/modules.dep\n"} {
		if !strings.Contains(names.String(), want) {
			t.Errorf("no %q in the segments", want)
		}
	}
}
