package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/recipes/debian/archivetest"
)

const lockRecipe = `name: scene
kind: host
architecture: amd64
suites: [{name: trixie, components: [main]}]
packages: [app]
`

// A lockDir is a folder with a recipe, and a mirror to lock it against.
type lockDir struct {
	scene        *archivetest.Scene
	recipe, lock string
}

func newLockDir(t *testing.T) *lockDir {
	t.Helper()
	dir := t.TempDir()
	d := &lockDir{scene: archivetest.NewScene(t), recipe: filepath.Join(dir, "scene.yaml"), lock: filepath.Join(dir, "scene.lock")}
	if err := os.WriteFile(d.recipe, []byte(lockRecipe), 0o644); err != nil {
		t.Fatal(err)
	}
	return d
}

// run calls labimage lock on the recipe; standard output and error come back together.
func (d *lockDir) run(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	all := append([]string{"lock", d.recipe}, args...)
	all = append(all, "--mirror", d.scene.Mirror.URL, "--keyring", d.scene.Keyring, "--cache", t.TempDir())
	var b bytes.Buffer
	code = Main(context.Background(), Env{Stdin: strings.NewReader(""), Stdout: &b, Stderr: &b, Args: all})
	return b.String(), code
}

func (d *lockDir) read(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(d.lock)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func want(t *testing.T, out string, code, wantCode int, texts ...string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("exit code %d, want %d:\n%s", code, wantCode, out)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

func TestLockVerb(t *testing.T) {
	d := newLockDir(t)
	out, code := d.run(t, "--diff")
	want(t, out, code, 0, "+ app 1.0-1", "+ lib 1.2-3", "= 2 packages")
	if _, err := os.Stat(d.lock); err == nil {
		t.Error("--diff wrote a lock")
	}
	out, code = d.run(t, "--check")
	want(t, out, code, 1, "has no lock", "labimage lock")
	out, code = d.run(t)
	want(t, out, code, 0, "+ app 1.0-1", "wrote "+d.lock)
	out, code = d.run(t)
	want(t, out, code, 0, "is up to date")
	out, code = d.run(t, "--diff")
	want(t, out, code, 0, "nothing would change")
	out, code = d.run(t, "--check")
	want(t, out, code, 0, "matches recipe scene, 2 packages")
	if info, err := os.Stat(d.lock); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestLockVerbUpdates(t *testing.T) {
	d := newLockDir(t)
	d.run(t)
	before := d.read(t)
	d.scene.Suite.Date = time.Now().Add(-time.Hour)
	d.scene.Suite.Packages = append(d.scene.Suite.Packages, archivetest.Package{Name: "lib", Version: "1.3"}, archivetest.Package{Name: "app", Version: "1.1", Fields: "Depends: lib\n"})
	d.scene.Mirror.Put(t, d.scene.Suite, d.scene.Key)
	out, code := d.run(t)
	want(t, out, code, 0, "is up to date")
	if d.read(t) != before {
		t.Error("a lock that nobody asked to update was changed")
	}
	out, code = d.run(t, "--update", "lib")
	want(t, out, code, 0, "^ lib 1.2-3 -> 1.3", "^ suite trixie")
	if strings.Contains(out, " app ") {
		t.Errorf("app was updated too:\n%s", out)
	}
	out, code = d.run(t, "--update")
	want(t, out, code, 0, "^ app 1.0-1 -> 1.1")
}

// TestLockVerbHostile: whatever the mirror does, the lock file stays as it was, and nothing is left beside it.
func TestLockVerbHostile(t *testing.T) {
	for _, attack := range archivetest.Attacks() {
		t.Run(attack.Name, func(t *testing.T) {
			t.Parallel()
			d := newLockDir(t)
			d.run(t)
			before := d.read(t)
			attack.Apply(t, d.scene)
			if out, code := d.run(t, "--update"); code == 0 {
				t.Errorf("accepted:\n%s", out)
			}
			if d.read(t) != before {
				t.Error("the lock was changed")
			}
			if files, _ := os.ReadDir(filepath.Dir(d.lock)); len(files) != 2 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

func TestLockVerbMismatch(t *testing.T) {
	d := newLockDir(t)
	d.run(t)
	if err := os.WriteFile(d.recipe, []byte(lockRecipe+"exclude: [lib]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := d.run(t, "--check")
	want(t, out, code, 1, "lock does not match its recipe", "labimage lock "+d.recipe)
	out, code = d.run(t)
	want(t, out, code, 0, "~ recipe scene", "- lib 1.2-3")
	out, code = d.run(t, "--check")
	want(t, out, code, 0, "matches recipe scene, 1 packages")
}

func TestLockVerbWithBrokenLock(t *testing.T) {
	d := newLockDir(t)
	if err := os.WriteFile(d.lock, []byte("<<<<<<< HEAD\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := d.run(t, "--check")
	want(t, out, code, 1, "read lock: line 1")
	out, code = d.run(t)
	want(t, out, code, 0, "making a new one from nothing", "+ app 1.0-1")
}

func TestLockVerbMisuse(t *testing.T) {
	d := newLockDir(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"app"}, exitUsage, "need --update"},
		{[]string{"--check", "--update"}, exitUsage, "--check goes with neither"},
		{[]string{"--nonsense"}, exitUsage, "unknown flag"},
		{[]string{"--update", "ap"}, exitFailure, "update ap: no suite has a package of this name"},
		{[]string{"-o", filepath.Join(filepath.Dir(d.lock), "no", "such", "folder.lock")}, exitFailure, "write lock"},
	} {
		out, code := d.run(t, c.args...)
		want(t, out, code, c.code, c.want)
	}
	if err := os.WriteFile(d.recipe, []byte("packges: [app]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := d.run(t)
	want(t, out, code, exitFailure, "scene.yaml:1:1: unknown field", `did you mean "packages"?`)
}
