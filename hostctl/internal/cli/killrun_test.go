package cli

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKilledRun: kill -9 of a run at random points, from its first instant to well into its first cases, leaves no process,
// link, mount or socket after a second. PICOLAB_KILLS scales it; 5 by default.
func TestKilledRun(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("PICOLAB_KILLS")); err == nil {
		rounds = n
	}
	w := newWorld(t)
	before := surroundings(t)
	for i := range rounds {
		out := filepath.Join(t.TempDir(), fmt.Sprintf("killed-run-%d", i))
		after := time.Duration(rand.Int64N(int64(9 * time.Second)))
		cmd := w.command("run", "vnic.driver-info", "vhostnet.ping", "--set", "nic=virtio", "-o", out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		seen := len(inhabitants(out))
		cmd.Process.Kill()
		cmd.Wait()
		time.Sleep(time.Second)
		if left := inhabitants(out); len(left) > 0 {
			t.Errorf("killed after %v: left %q", after, left)
		}
		t.Logf("killed after %v, %d processes in the sandbox", after.Round(time.Millisecond), seen)
	}
	if now := surroundings(t); now != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, now)
	}
}

// inhabitants are the processes that run this program or see the folder out mounted, this one aside.
func inhabitants(out string) []string {
	self, _ := os.Executable()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var found []string
	for _, dir := range dirs {
		if filepath.Base(dir) == strconv.Itoa(os.Getpid()) {
			continue
		}
		exe, _ := os.Readlink(dir + "/exe") // fails for the dead
		mounts, _ := os.ReadFile(dir + "/mountinfo")
		if exe == self || exe != "" && bytes.Contains(mounts, []byte(filepath.Base(out)+" ")) {
			found = append(found, dir+" "+exe)
		}
	}
	return found
}

// surroundings are this machine's links, mounts and named sockets of labs.
func surroundings(t *testing.T) string {
	t.Helper()
	links, err := filepath.Glob("/sys/class/net/*")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\n%s\n%d sockets of labs", strings.Join(links, "\n"), mounts, bytes.Count(sockets, []byte("lab-run")))
}
