package disk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/site"
	"picolab/images/manifest"
)

// stickTime is how long an emulated appliance may take to boot, to boot a guest of its own, and to save what came of it.
const stickTime = 8 * time.Minute

// siteFiles is the site folder of the tests. The selection is one case on one card: every boot in there is an emulator's in
// an emulator.
var siteFiles = map[string]string{
	"autorun":      "cases: ['vnic.link-status-on[nic=virtio]']\n",
	"network.yaml": "hostname: bench7\nsearch: [lab.example]\n",
}

// patient is the host image with kernel arguments for a machine that other tests keep busy.
func patient(t *testing.T, m *manifest.Manifest) *manifest.Manifest {
	c := *m
	c.CommandLine = append(slices.Clone(m.CommandLine), "no_timer_check")
	return withToken(t, &c)
}

// putSite writes the site folder onto the ESP and returns its digest.
func putSite(t *testing.T, at string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "site")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(text))
	}
	judge(t, "mcopy", "-i", at, "-s", dir, "::/picolab/site")
	digest, err := site.Digest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// A pc is a machine started from a stick that it may write to, with its serial line in hand.
type pc struct {
	t     *testing.T
	keys  io.Writer
	text  chan string
	seen  strings.Builder
	began time.Time
}

// powerOn starts a disk as a USB stick. The card's network is QEMU's own.
func powerOn(t *testing.T, host *manifest.Manifest, disk string) *pc {
	t.Helper()
	root, err := filepath.Abs(host.Root())
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(root, libraries)
	args := []string{"--library-path", lib, filepath.Join(root, "usr/bin/qemu-system-x86_64"),
		"-L", filepath.Join(root, "usr/share/seabios"), "-L", filepath.Join(root, "usr/share/qemu"), "-L", filepath.Join(root, "usr/lib/ipxe/qemu"),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35,accel=tcg", "-cpu", "qemu64,+rdrand,+svm,+npt",
		"-smp", "2", "-m", "2560", "-device", "qemu-xhci", "-drive", "if=none,id=stick,format=raw,file=" + disk,
		"-device", "usb-storage,drive=stick,bootindex=0,removable=on", "-netdev", "user,id=net",
		"-device", "virtio-net-pci,netdev=net,romfile=", "-serial", "stdio"}
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, filepath.Join(root, linker), args...)
	cmd.Env = append(os.Environ(), "QEMU_MODULE_DIR="+filepath.Join(lib, "qemu"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	keys, kerr := cmd.StdinPipe()
	out, oerr := cmd.StdoutPipe()
	if kerr != nil || oerr != nil {
		t.Fatal(kerr, oerr)
	}
	p := &pc{t: t, keys: keys, text: make(chan string), began: time.Now()}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(ctx, out)
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // killed
		if stderr.Len() > 0 {
			t.Logf("qemu: %s", stderr.String())
		}
	})
	return p
}

func (p *pc) read(ctx context.Context, out io.Reader) {
	defer close(p.text)
	for r, buf := bufio.NewReader(out), make([]byte, 4096); ; {
		n, err := r.Read(buf)
		if err != nil {
			return
		}
		select {
		case p.text <- string(buf[:n]):
		case <-ctx.Done():
			return
		}
	}
}

// until waits for one of the words on the console; the first is what should come.
func (p *pc) until(words ...string) {
	p.t.Helper()
	from := p.seen.Len()
	for late := time.After(stickTime); ; {
		text := p.seen.String()[from:]
		if i := slices.IndexFunc(words, func(w string) bool { return strings.Contains(text, w) }); i == 0 {
			p.t.Logf("%q after %.0f s", words[0], time.Since(p.began).Seconds())
			return
		} else if i > 0 {
			p.t.Fatalf("%q instead of %q:\n%s", words[i], words[0], tail(p.seen.String()))
		}
		select {
		case more, ok := <-p.text:
			if !ok {
				p.t.Fatalf("the machine ended before %q:\n%s", words[0], tail(p.seen.String()))
			}
			p.seen.WriteString(more)
		case <-late:
			p.t.Fatalf("no %q within %v:\n%s", words[0], stickTime, tail(p.seen.String()))
		}
	}
}

// choose picks a line of GRUB's menu: Ctrl-N is the line below.
func (p *pc) choose(line int) {
	p.until("executed automatically")
	if _, err := io.WriteString(p.keys, strings.Repeat("\x0e", line)+"\r"); err != nil {
		p.t.Fatal(err)
	}
}

// TestQuickCatalogue: the menu's entry for it leaves a readable folder of results on the FAT partition. On the way: the site
// folder is in use and part of the image's id, the network comes from QEMU's DHCP server, and the file system is clean.
func TestQuickCatalogue(t *testing.T) {
	nightly(t)
	_, host := images(t)
	if host.RootFile() == "" {
		t.Fatal("the host image has no root file system to boot")
	}
	talking := patient(t, host)
	line := slices.IndexFunc(talking.Menu, func(c manifest.Choice) bool { return slices.Contains(c.CommandLine, "picolab.run=quick") })
	if line < 0 {
		t.Fatal("no line of the menu runs the quick catalogue")
	}
	disk := writeDisk(t, talking, host, GPT, Raw)
	at := disk + fmt.Sprintf("@@%d", espFirst*sector)
	digest := putSite(t, at, siteFiles)
	p := powerOn(t, host, disk)
	p.choose(line)
	p.until("+dirty."+digest[:12], "Kernel panic", "rescue>")
	p.until("from the DHCP server 10.0.2.2", "Kernel panic")
	p.until("picolab: results: written to the stick as /picolab/results/001", "picolab: results: ", "Kernel panic")
	checkResults(t, at, digest)
	judge(t, "fsck.fat", "-n", "-v", cut(t, disk))
}

// nightly skips what is too slow for every test.
func nightly(t *testing.T) {
	t.Helper()
	if os.Getenv("PICOLAB_NIGHTLY") == "" {
		t.Skip("an emulator in an emulator takes minutes; PICOLAB_NIGHTLY=1 (make nightly) runs it")
	}
}

// TestRecursion boots the appliance inside itself, from its stick, as far as the inner agent's Hello.
func TestRecursion(t *testing.T) {
	nightly(t)
	_, host := images(t)
	outer := patient(t, host)
	p := powerOn(t, host, writeDisk(t, outer, host, GPT, Raw))
	p.until("console ready on ttyS0", "Kernel panic", "rescue>")
	p.until("# ", "Kernel panic")
	if _, err := io.WriteString(p.keys, "launch-qemu qemu --netuser 01 --image self --memory 1024 --wait\r"); err != nil {
		t.Fatal(err)
	}
	p.until("-accel tcg", "launch-qemu: ")
	p.until("Hello from launch-netuser01: image "+outer.ID, "launch-qemu: ", "Kernel panic")
}

// checkResults reads what the appliance left with mtools.
func checkResults(t *testing.T, at, digest string) {
	t.Helper()
	dir := t.TempDir()
	judge(t, "mcopy", "-i", at, "-s", "-n", "::/picolab/results/001", dir)
	data, err := os.ReadFile(filepath.Join(dir, "001/results.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Instance, Result, Image string }
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	if r.Result != "PASS" || !strings.HasPrefix(r.Instance, "vnic.link-status-on[nic=virtio") || !strings.HasSuffix(r.Image, "+dirty."+digest[:12]) {
		t.Errorf("results.jsonl: %s", data)
	}
	for _, pattern := range []string{"run.json", "junit.xml", "cases/*/*", "labs/*/*"} {
		if found, err := filepath.Glob(filepath.Join(dir, "001", pattern)); err != nil || len(found) == 0 {
			t.Errorf("no %s among the results: %v", pattern, err)
		}
	}
}

// cut copies the ESP out of a disk with a GPT for fsck.fat: all but the first and the last MiB.
func cut(t *testing.T, disk string) string {
	t.Helper()
	info, err := os.Stat(disk)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "esp")
	judge(t, "dd", "if="+disk, "of="+out, "bs=1M", "skip=1", fmt.Sprintf("count=%d", info.Size()/mebi-2), "conv=sparse", "status=none")
	return out
}
