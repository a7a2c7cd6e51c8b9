package disk

import (
	"encoding/json"
	"fmt"
	"os"
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

// recursionTime is how long an emulated machine in an emulated machine may take to its Hello.
const recursionTime = 30 * time.Minute

// siteFiles is the site folder of the tests. The selection is one case on one card: a guest's boot takes ten times as long in an
// emulated machine.
var siteFiles = map[string]string{
	"autorun":      "cases: ['vnic.link-status-on[nic=virtio]']\nset: [backend=tap]\n",
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

// lab is the machine of an appliance that boots machines of its own: its emulated processor has AMD's virtualization, with
// which those are not emulated in turn, and a card on QEMU's own network.
func lab(t *testing.T, host *manifest.Manifest, disk string) *pc {
	t.Helper()
	f := seabios
	f.machine = append(slices.Clone(f.machine), "-cpu", "qemu64,+rdrand,+svm,+npt", "-smp", "2")
	return powerOn(t, host, f, 2560, slices.Concat(stick(disk, true), []string{"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="})...)
}

// TestQuickCatalogue: the menu's entry for it leaves a readable folder of results on the FAT partition. On the way: the site
// folder is in use and part of the image's id, the network comes from QEMU's DHCP server, drivers of what the processor can do
// are loaded, and the file system is clean.
func TestQuickCatalogue(t *testing.T) {
	t.Parallel()
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
	p := lab(t, host, disk)
	p.choose(line)
	p.until(stickTime, "+dirty."+digest[:12], "Kernel panic", "rescue>")
	p.until(stickTime, "from the DHCP server 10.0.2.2", "Kernel panic")
	p.until(stickTime, "autorun: finished, all is well (exit code 0)", "exit code 1", "exit code 2", "exit code 3", "exit code 4", "ended by", "Kernel panic")
	p.until(stickTime, "picolab: results: written to the stick as /picolab/results/001", "picolab: results: not", "picolab: results: in ", "picolab: results: the", "Kernel panic")
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
	p := lab(t, host, writeDisk(t, outer, host, GPT, Raw))
	p.until(stickTime, "console ready on ttyS0", "Kernel panic", "rescue>")
	p.until(stickTime, "# ", "Kernel panic")
	p.enter("launch-qemu qemu --netuser 01 --image self --memory 1024 --wait")
	p.until(stickTime, "-accel tcg", "launch-qemu: ")
	p.until(recursionTime, "Hello from launch-netuser01: image "+outer.ID, "launch-qemu: ", "Kernel panic")
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
	var r struct {
		Instance, Result, Image string
		Host                    struct{ Accel string }
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	if r.Result != "PASS" || !strings.HasPrefix(r.Instance, "vnic.link-status-on[") || !strings.HasSuffix(r.Image, "+dirty."+digest[:12]) {
		t.Errorf("results.jsonl: %s", data)
	}
	if r.Host.Accel != "kvm" {
		t.Errorf("a machine with virtualization runs guests under %q", r.Host.Accel)
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
