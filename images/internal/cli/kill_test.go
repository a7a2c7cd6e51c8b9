package cli

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/images/assemble"
	"picolab/images/internal/imagetest"
	"picolab/images/manifest"
)

// TestKilledBuilds ends builds at random points, half of them without a chance to clean up. The image under its final
// name must always be a whole one, and the last build completes.
func TestKilledBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a busybox")
	}
	b := imagetest.New(t, t.TempDir())
	out := filepath.Join(b.Dir, "out")
	imagetest.Write(t, b.Dir, map[string]string{"other.yaml": strings.Replace(imagetest.Host, "root:x", "ruth:x", 1)})
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command("labimage", args...) // testscript put it in PATH
		cmd.Dir = b.Dir
		cmd.Env = append(os.Environ(), "PICOLAB_MIRROR="+b.URL, "PICOLAB_CACHE="+b.Dir+"/cache", "PICOLAB_SOURCE="+b.Source)
		return cmd
	}
	must := func(args ...string) {
		t.Helper()
		if text, err := run(args...).CombinedOutput(); err != nil {
			t.Fatalf("labimage %q: %v\n%s", args, err, text)
		}
	}
	for _, recipe := range []string{"host", "other"} {
		must("lock", recipe+".yaml", "--keyring", b.Keyring)
		must("build", recipe+".yaml", "-o", recipe)
	}
	const kills = 30
	for i := range kills {
		cmd := run("build", []string{"host.yaml", "other.yaml"}[i%2], "-o", "out")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		_ = cmd.Process.Signal([]os.Signal{syscall.SIGKILL, syscall.SIGINT}[i/2%2]) // it may have ended
		_ = cmd.Wait()
		wantWhole(t, b.Dir, out)
	}
	must("build", "host.yaml", "-o", "out")
	if err := assemble.Compare(t.Context(), filepath.Join(b.Dir, "host"), out); err != nil {
		t.Errorf("the build after %d killed ones: %v", kills, err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.Dir, ".out.*")); len(left) != 1 { // the lock file
		t.Errorf("left behind: %v", left)
	}
}

// wantWhole fails unless out is missing or is one of the two images to the last byte.
func wantWhole(t *testing.T, dir, out string) {
	t.Helper()
	if _, err := os.Stat(out); os.IsNotExist(err) {
		return
	}
	if _, err := manifest.Read(out); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, whole := range []string{"host", "other"} {
		err := assemble.Compare(t.Context(), filepath.Join(dir, whole), out)
		if err == nil {
			return
		}
		text.WriteString(err.Error() + "\n")
	}
	t.Fatalf("half an image under the final name:\n%s", text.String())
}

// TestInterruptedBuildSaysSo checks the exit code and the message of Ctrl-C.
func TestInterruptedBuildSaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a build")
	}
	b := imagetest.New(t, t.TempDir())
	var stderr bytes.Buffer
	lock := exec.Command("labimage", "lock", "host.yaml", "--keyring", b.Keyring)
	build := exec.Command("labimage", "build", "host.yaml", "-o", "out")
	for _, cmd := range []*exec.Cmd{lock, build} {
		cmd.Dir = b.Dir
		cmd.Env = append(os.Environ(), "PICOLAB_MIRROR="+b.URL, "PICOLAB_CACHE="+b.Dir+"/cache", "PICOLAB_SOURCE="+b.Source)
	}
	if text, err := lock.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	build.Stderr = &stderr
	if err := build.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // the busybox is being compiled
	if err := build.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = build.Wait()
	if code := build.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d, want %d; it says\n%s", code, exitInterrupted, &stderr)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "out")); err == nil {
		t.Error("an image is there")
	}
}
