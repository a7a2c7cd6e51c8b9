package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/images/manifest"
	"picolab/initramfs/cpio"
	"picolab/initramfs/tree"
)

// bootTime is how long a guest may take from power on to its agent under TCG on a loaded machine.
const bootTime = 5 * time.Minute

// ready is what the agent writes to the console when it can be called.
const ready = "picolab: agent ready"

// rootFound is what an appliance writes to the console when it has found its root file system on a USB stick.
const rootFound = "picolab: root file system of sda"

// images returns the built images.
func images(t testing.TB) (guest, host *manifest.Manifest) {
	t.Helper()
	dir := os.Getenv("PICOLAB_IMAGES")
	if dir == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if host, err = manifest.Read(filepath.Join(dir, "host")); err != nil {
		t.Fatal(err)
	}
	if guest, err = manifest.Read(filepath.Join(dir, "guest")); err != nil {
		t.Fatal(err)
	}
	return guest, host
}

// talkative is an image whose kernel's messages show and whose agent serves.
func talkative(t *testing.T, m *manifest.Manifest) *manifest.Manifest {
	c := *m
	c.Menu = []manifest.Choice{{Title: "with the kernel's messages", CommandLine: []string{"ignore_loglevel"}}}
	return withToken(t, &c)
}

// writeDisk makes a disk and returns its path.
func writeDisk(t testing.TB, m, host *manifest.Manifest, l Layout, f Format) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk."+string(f))
	if _, err := Write(t.Context(), Options{Image: m, Loaders: host.Root(), Output: path, Layout: l, Format: f}); err != nil {
		t.Fatal(err)
	}
	return path
}

// A firmware is a machine with what starts on it.
type firmware struct {
	name    string
	machine []string
	code    string // UEFI firmware below the root's usr/share/OVMF; "" is SeaBIOS
	vars    string
}

var (
	seabios = firmware{name: "SeaBIOS", machine: []string{"-machine", "q35,accel=tcg", "-device", "qemu-xhci"}}
	old     = firmware{name: "old", machine: []string{"-machine", "pc,accel=tcg", "-cpu", "core2duo", "-device", "usb-ehci"}}
	uefi    = firmware{"UEFI", []string{"-machine", "q35,accel=tcg", "-device", "qemu-xhci"}, "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"}
	secure  = firmware{"Secure Boot", []string{"-machine", "q35,accel=tcg,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on", "-device", "qemu-xhci"},
		"OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd"}
)

// arguments makes QEMU's arguments for a machine without disks; the serial line is the standard output and input.
func (f firmware) arguments(t testing.TB, host *manifest.Manifest, memory int) []string {
	args := append([]string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", strconv.Itoa(memory), "-serial", "stdio"}, f.machine...)
	if f.code == "" {
		return args
	}
	firmware := filepath.Join(host.Root(), "usr/share/OVMF")
	vars := filepath.Join(t.TempDir(), "vars")
	data, err := os.ReadFile(filepath.Join(firmware, f.vars))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vars, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return append(args, "-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+filepath.Join(firmware, f.code),
		"-drive", "if=pflash,format=raw,unit=1,file="+vars)
}

// stick is a disk as a USB stick that is booted from; what is written to it is kept in its file if asked for.
func stick(disk string, keep bool) []string {
	drive := "if=none,id=stick,format=" + strings.TrimPrefix(filepath.Ext(disk), ".") + ",file=" + disk
	if !keep {
		drive += ",snapshot=on"
	}
	return []string{"-drive", drive, "-device", "usb-storage,drive=stick,bootindex=0,removable=on"}
}

// memory is a small machine's, MiB.
const memory = 768

// boot starts the disk and returns the console's text up to the first of the words, or all of it when none came.
func (f firmware) boot(t testing.TB, host *manifest.Manifest, disk string, words ...string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), bootTime)
	defer stop()
	cmd := qemuCommand(ctx, t, host, append(f.arguments(t, host, memory), stick(disk, false)...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, found := until(out, words)
	t.Logf("%s: %q after %.1f s", f.name, found, time.Since(began).Seconds())
	stop()
	_ = cmd.Wait() // killed
	if stderr.Len() > 0 {
		t.Logf("qemu: %s", stderr.String())
	}
	return text
}

// until reads r to the first of the words.
func until(r io.Reader, words []string) (text, found string) {
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		b.Write(buf[:n])
		for _, w := range words {
			if strings.Contains(b.String(), w) {
				return b.String(), w
			}
		}
		if err != nil {
			return b.String(), ""
		}
	}
}

// TestBoot starts each firmware from USB storage; the agent in there says Hello over vsock.
func TestBoot(t *testing.T) {
	guest, host := images(t)
	guest, appliance := talkative(t, guest), talkative(t, host)
	for _, tc := range []struct {
		firmware
		image  *manifest.Manifest
		layout Layout
		format Format
		want   string // in the kernel's messages
		off    bool   // ends by its power button
	}{
		{seabios, appliance, GPT, Raw, "Standard PC (Q35", true},
		{seabios, guest, GPT, QCOW2, "Standard PC (Q35", false},
		{old, appliance, GPT, Raw, "i440FX", false},
		{old, guest, MBR, Raw, "i440FX", false},
		{uefi, appliance, GPT, Raw, "efi: EFI v2", false},
		{uefi, guest, MBR, Raw, "efi: EFI v2", false},
		{secure, appliance, GPT, Raw, "Kernel is locked down from EFI Secure Boot", false},
	} {
		t.Run(fmt.Sprint(tc.name, " ", tc.image.Name, " ", tc.layout, " ", tc.format), func(t *testing.T) {
			t.Parallel()
			p := powerOn(t, host, tc.firmware, memory, stick(writeDisk(t, tc.image, host, tc.layout, tc.format), false)...)
			p.until(bootTime, ready, "Kernel panic", "rescue>")
			agent, hello := p.hello()
			if hello.Kernel != host.KernelRelease || hello.Pid != 1 {
				t.Errorf("Hello says %v", hello)
			}
			wants := []string{tc.want}
			if tc.image.RootFile() != "" {
				wants = append(wants, rootFound)
				if hello.ImageId != tc.image.ID {
					t.Errorf("it is image %s, not %s", hello.ImageId, tc.image.ID)
				}
			}
			for _, want := range wants {
				if !strings.Contains(p.seen.String(), want) {
					t.Errorf("want %q, got:\n%s", want, tail(p.seen.String()))
				}
			}
			if tc.off {
				p.powerOff(agent)
			}
		})
	}
}

// TestMenu boots the host's own menu: its first choice starts by itself.
func TestMenu(t *testing.T) {
	t.Parallel()
	_, host := images(t)
	if len(host.Menu) < 2 {
		t.Fatalf("the host's menu has %d choices", len(host.Menu))
	}
	text := uefi.boot(t, host, writeDisk(t, withToken(t, host), host, GPT, Raw), ready, "rescue>")
	for _, want := range []string{host.Menu[0].Title, host.Menu[1].Title, ready} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q on the console:\n%s", want, tail(text))
		}
	}
}

// TestSameBytesForReal is TestSameBytes with the boot loaders of the host image, from another working directory and
// with an environment that tells the time and the language otherwise.
func TestSameBytesForReal(t *testing.T) {
	_, host := images(t)
	want := digest(t, writeDisk(t, host, host, GPT, Raw))
	for name, value := range map[string]string{"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "HOME": "/nonexistent", "TMPDIR": t.TempDir(), "SOURCE_DATE_EPOCH": "1"} {
		t.Setenv(name, value)
	}
	t.Chdir(t.TempDir())
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	if digest(t, writeDisk(t, host, host, GPT, Raw)) != want {
		t.Error("two disks of one image differ")
	}
}

// TestTamperedKernel shows that Secure Boot is really on: the same disk with one bit of its kernel changed starts on
// UEFI without it, and is refused with it.
func TestTamperedKernel(t *testing.T) {
	t.Parallel()
	guest, host := images(t)
	guest = talkative(t, guest)
	disk := writeDisk(t, tampered(t, guest), host, GPT, Raw)
	const refused = "bad shim signature"
	if text := secure.boot(t, host, disk, refused, "Linux version", ready); !strings.Contains(text, refused) {
		t.Errorf("not refused:\n%s", tail(text))
	}
	if text := uefi.boot(t, host, disk, refused, "Linux version", ready); !strings.Contains(text, "Linux version") {
		t.Errorf("without Secure Boot it should start:\n%s", tail(text))
	}
}

// tampered is the image with another bit in text of its kernel that does not run.
func tampered(t *testing.T, m *manifest.Manifest) *manifest.Manifest {
	kernel, err := os.ReadFile(m.Kernel())
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(kernel, []byte(m.KernelRelease)) // for boot loaders to show: Documentation/arch/x86/boot.rst, kernel_version
	if at < 0 {
		t.Fatal("the kernel does not say its release")
	}
	kernel[at] ^= 1
	return variant(t, m, manifest.File{Name: filepath.Base(m.Kernel()), Role: manifest.RoleKernel}, kernel)
}

// withToken is the image with what a lab appends to it: without, the agent serves nobody.
func withToken(t *testing.T, m *manifest.Manifest) *manifest.Manifest {
	files := tree.New()
	if err := files.Put("etc/picolab/boot.json", tree.Regular(0o600, tree.Bytes([]byte(`{"token":"`+token+`"}`)))); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := cpio.Segment(&b, files, m.Epoch, cpio.None); err != nil {
		t.Fatal(err)
	}
	return variant(t, m, manifest.File{Name: "boot.cpio", Role: manifest.RoleSegment}, b.Bytes())
}

// variant is a copy of an image with one file replaced or added.
func variant(t *testing.T, m *manifest.Manifest, f manifest.File, data []byte) *manifest.Manifest {
	t.Helper()
	dir := t.TempDir()
	sum := sha256.Sum256(data)
	f.Size, f.SHA256 = int64(len(data)), hex.EncodeToString(sum[:])
	c := *m
	c.Files = nil
	for _, old := range m.Files {
		if old.Name == f.Name {
			old = f
		} else if err := os.Symlink(filepath.Join(m.Dir(), old.Name), filepath.Join(dir, old.Name)); err != nil {
			t.Fatal(err)
		}
		c.Files = append(c.Files, old)
	}
	if !slices.Contains(c.Files, f) {
		c.Files = append(c.Files, f)
	}
	for name, content := range map[string][]byte{f.Name: data, manifest.Name: c.Encode()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v, err := manifest.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tail is the end of a console's text.
func tail(text string) string {
	return strings.ToValidUTF8(text[max(0, len(text)-3000):], "?")
}
