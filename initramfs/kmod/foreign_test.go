package kmod

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"picolab/initramfs/cpio"
	"picolab/initramfs/tree"
)

// kmodTool finds depmod(8) or modprobe(8), which are in sbin.
func kmodTool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	t.Skipf("%s(8) not installed", name)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// TestDepmodAgrees lets depmod(8), which reads symbols instead of depends=,
// index the staged modules, and compares its files with ours; then modprobe(8)
// says what it would load for each.
func TestDepmodAgrees(t *testing.T) {
	staged, err := Stage(kernel(t), []string{"drivers/net/*", "openvswitch", "vfio"}, "lib/modules")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, staged, release)
}

// TestDepmodAgreesOnImage does the same with the modules of a built image.
func TestDepmodAgreesOnImage(t *testing.T) {
	images := os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	f, err := os.Open(filepath.Join(images, "guest", "modules.cpio.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := cpio.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	staged := all.Filter(func(p string) bool { return strings.HasPrefix(p, "lib/modules/") })
	version, err := Release(staged)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, staged, version)
}

// TestCompareCanFail: with a dependency missing from the index the comparison
// must not pass.
func TestCompareCanFail(t *testing.T) {
	kmodTool(t, "depmod")
	staged, err := Stage(kernel(t), []string{"igb"}, "lib/modules")
	if err != nil {
		t.Fatal(err)
	}
	path := "lib/modules/" + release + "/modules.dep"
	e, _ := staged.Get(path)
	text, err := tree.ReadAll(e.Blob)
	if err != nil {
		t.Fatal(err)
	}
	staged.Remove(path)
	wrong := strings.Replace(string(text), " kernel/drivers/ptp/ptp.ko\n", "\n", 1)
	if err := staged.Put(path, tree.Regular(0o644, tree.Bytes([]byte(wrong)))); err != nil {
		t.Fatal(err)
	}
	dir := depmod(t, staged, release)
	if ours, theirs := index(t, staged, release, "modules.dep"), lines(t, filepath.Join(dir, "modules.dep")); sameDeps(ours, theirs) {
		t.Error("a missing dependency was not seen")
	}
}

func compare(t *testing.T, staged *tree.Tree, version string) {
	dir := depmod(t, staged, version)
	ours, theirs := index(t, staged, version, "modules.dep"), lines(t, filepath.Join(dir, "modules.dep"))
	if !sameDeps(ours, theirs) {
		t.Errorf("modules.dep: got\n%s\ndepmod's\n%s", strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
	}
	for _, name := range []string{"modules.alias", "modules.softdep"} {
		ours, theirs := index(t, staged, version, name), lines(t, filepath.Join(dir, name))
		slices.Sort(ours)
		slices.Sort(theirs)
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s: got\n%s\ndepmod's\n%s", name, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
	}
	compareLoads(t, staged, version, dir)
}

// depmod writes the tree out, has the tool index it and returns the folder of
// the release. The tool replaces our index files.
func depmod(t *testing.T, staged *tree.Tree, version string) string {
	tool := kmodTool(t, "depmod")
	root := filepath.Join(t.TempDir(), "root")
	if err := staged.WriteDir(t.Context(), root, tree.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "-b", root, version)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("depmod: %v\n%s", err, out)
	}
	return filepath.Join(root, "lib/modules", version)
}

// compareLoads: for each module alone, modprobe would load the set that Closure
// returns.
func compareLoads(t *testing.T, staged *tree.Tree, version, dir string) {
	tool := kmodTool(t, "modprobe")
	root := strings.TrimSuffix(dir, "/lib/modules/"+version)
	for path, e := range staged.All() {
		if !strings.HasSuffix(path, ".ko") || !e.IsRegular() {
			continue
		}
		name := fileAt(path).name
		order, err := Closure(staged, []string{name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var ours []string
		for _, m := range order {
			ours = append(ours, "insmod "+filepath.Join(dir, m.Path))
		}
		out, err := exec.Command(tool, "-C", t.TempDir(), "-d", root, "-S", version, "--show-depends", name).Output()
		if err != nil {
			t.Errorf("modprobe %s: %v", name, err)
			continue
		}
		theirs := insmods(string(out))
		slices.Sort(ours)
		slices.Sort(theirs)
		theirs = slices.Compact(theirs) // a module that two others need is named twice
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s: got %q, modprobe's %q", name, ours, theirs)
		}
	}
}

func insmods(out string) []string {
	var got []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "insmod") {
			got = append(got, line)
		}
	}
	return got
}

// sameDeps compares lines "path: deps" as sets, and checks in each of ours
// that going through it backwards loads what is needed first.
func sameDeps(ours, theirs []string) bool {
	a, b := deps(ours), deps(theirs)
	if len(a) != len(b) {
		return false
	}
	for path, list := range a {
		mine, other := slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(b[path]))
		if !slices.Equal(mine, other) || !loadable(list, a) {
			return false
		}
	}
	return true
}

func loadable(list []string, all map[string][]string) bool {
	loaded := map[string]bool{}
	for _, path := range slices.Backward(list) {
		for _, dep := range all[path] {
			if !loaded[dep] {
				return false
			}
		}
		loaded[path] = true
	}
	return true
}

func deps(lines []string) map[string][]string {
	out := map[string][]string{}
	for _, line := range lines {
		path, rest, _ := strings.Cut(line, ":")
		out[path] = strings.Fields(rest)
	}
	return out
}

func index(t *testing.T, staged *tree.Tree, version, name string) []string {
	t.Helper()
	e, ok := staged.Get("lib/modules/" + version + "/" + name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	data, err := tree.ReadAll(e.Blob)
	if err != nil {
		t.Fatal(err)
	}
	return scan(string(data))
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return scan(string(data))
}

// scan returns the lines of text that are no comments.
func scan(text string) []string {
	var out []string
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			out = append(out, s.Text())
		}
	}
	return out
}
