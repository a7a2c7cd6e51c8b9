package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/hostctl/internal/labs"
	"picolab/hostctl/lab"
)

// TestLifecycle takes one lab of two guests through every verb.
func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	out, progress := w.hostctl(0, "", "up", "--name", "life", "--guests", "2", "--nic", "virtio-net-pci", "--nic", "e1000@user")
	if out != "lab life is up: life/a life/b\n" || !strings.Contains(progress, "for Hello from b") {
		t.Errorf("up: %q\n%s", out, progress)
	}
	t.Run("name taken", func(t *testing.T) {
		if _, errs := w.hostctl(exitUsage, "", "up", "--name", "life"); !strings.Contains(errs, "a lab of this name is running") {
			t.Errorf("stderr %q", errs)
		}
	})
	t.Run("ps", func(t *testing.T) { checkPs(t, w) })
	t.Run("exec", func(t *testing.T) { checkExec(t, w) })
	t.Run("cp", func(t *testing.T) { checkCp(t, w) })
	t.Run("console", func(t *testing.T) { checkConsole(t, w) })
	t.Run("down", func(t *testing.T) { checkDown(t, w) })
}

func checkPs(t *testing.T, w *world) {
	out, _ := w.hostctl(0, "", "ps", "--json")
	var all []labs.State
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	s := all[0]
	if s.Name != "life" || s.Phase != labs.Up || s.Pid == 0 || s.UptimeMS <= 0 || len(s.Guests) != 2 || s.Guests[1].State != lab.StateUp {
		t.Errorf("state %+v", s)
	}
	if nic := s.Guests[1].NICs[0]; nic.Address != "10.77.0.3/24" || nic.MAC != lab.MAC("life", "b", 0) {
		t.Errorf("NIC %+v", nic)
	}
	if out, _ := w.hostctl(0, "", "ps"); !strings.Contains(out, "virtio-net-pci 10.77.0.2/24") {
		t.Errorf("table:\n%s", out)
	}
}

func checkExec(t *testing.T, w *world) {
	if out, _ := w.hostctl(0, "", "exec", "life/a", "--", "echo", "hello", "there"); out != "hello there\n" {
		t.Errorf("echo: %q", out)
	}
	if out, _ := w.hostctl(0, "from stdin", "exec", "-i", "life/b", "cat"); out != "from stdin" {
		t.Errorf("cat: %q", out)
	}
	if out, _ := w.hostctl(0, "", "exec", "life/b", "--", "ping", "-c", "1", "10.77.0.2"); !strings.Contains(out, "10.77.0.2") {
		t.Errorf("b pings a: %q", out)
	}
	if out, _ := w.hostctl(0, "", "exec", "life/a", "--", "cat", "/proc/net/route"); !strings.Contains(out, "\t0202000A\t") { // 10.0.2.2
		t.Errorf("routes: %q", out)
	}
	w.hostctl(1, "", "exec", "life/a", "--", "false")
	w.hostctl(exitNotFound, "", "exec", "life/a", "--", "no-such-command")
	w.hostctl(exitNotFound, "", "exec", "life/host", "--", "/no/such/command")
	w.hostctl(exitUsage, "", "exec", "life/c", "--", "true")
	if out, _ := w.hostctl(0, "", "exec", "life/host", "--", "qemu-system-x86_64", "-version"); !strings.Contains(out, "QEMU emulator") {
		t.Errorf("host: %q", out)
	}
}

func checkCp(t *testing.T, w *world) {
	dir := t.TempDir()
	data := make([]byte, 1<<20+3)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	src := filepath.Join(dir, "data")
	if err := os.WriteFile(src, data, 0o751); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	for _, args := range [][]string{{src, "life/a:/tmp/"}, {"life/a:/tmp/data", filepath.Join(dir, "back")}} {
		out, _ := w.hostctl(0, "", append([]string{"cp"}, args...)...)
		if !strings.Contains(out, hex.EncodeToString(sum[:])) || !strings.Contains(out, " MB/s") {
			t.Errorf("cp %q: %q", args, out)
		}
	}
	back, err := os.ReadFile(filepath.Join(dir, "back"))
	if err != nil || !bytes.Equal(back, data) {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}
	if info, _ := os.Stat(filepath.Join(dir, "back")); info.Mode().Perm() != 0o751 {
		t.Errorf("mode %v", info.Mode())
	}
	w.hostctl(exitFailed, "", "cp", "life/a:/no/such/file", dir)
	w.hostctl(exitUsage, "", "cp", filepath.Join(dir, "none"), "life/a:/tmp/x")
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("failed copies left %v", left)
	}
}

func checkConsole(t *testing.T, w *world) {
	out, _ := w.hostctl(0, "\x1d", "console", "life/a")
	if log, _ := w.hostctl(0, "", "logs", "life/a"); !strings.Contains(log, "picolab: agent ready") || !strings.HasPrefix(log, out) && out != "" {
		t.Errorf("console %q, log %q", out, log)
	}
	if log, _ := w.hostctl(0, "", "logs", "life"); !strings.Contains(log, "guest a is up") {
		t.Errorf("log of the lab: %q", log)
	}
	w.hostctl(exitUsage, "", "console", "life/c")
}

// checkDown ends the lab while somebody follows its log.
func checkDown(t *testing.T, w *world) {
	follow := w.command("logs", "-f", "life")
	var followed bytes.Buffer
	follow.Stdout = &followed
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	pid := w.pid("life")
	if out, _ := w.hostctl(0, "", "down", "life"); out != "lab life is down\n" {
		t.Errorf("down: %q", out)
	}
	w.nothingLeft(t, "life", pid)
	if err := follow.Wait(); err != nil || !strings.Contains(followed.String(), "asked to go down") {
		t.Errorf("logs -f: %v, %q", err, followed.String())
	}
	if out, _ := w.hostctl(0, "", "down", "life"); out != "lab life does not run\n" {
		t.Errorf("second down: %q", out)
	}
	if left, _ := os.ReadDir(w.run); len(left) > 0 {
		t.Errorf("left in the run folder: %v", left)
	}
}

// pid is the lab's first process, 0 when it has none yet.
func (w *world) pid(name string) int {
	var p struct{ Pid int }
	data, _ := os.ReadFile(filepath.Join(w.run, name, "pid"))
	json.Unmarshal(data, &p)
	return p.Pid
}

// nothingLeft wants the lab's processes gone within a second; its namespaces, and all in them, go with the last.
func (w *world) nothingLeft(t *testing.T, name string, pid int) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if left = w.processes(name, pid); len(left) == 0 {
			return
		}
	}
	t.Errorf("after a second: %q", left)
}

// processes are those of the lab: its first process, QEMUs named after it, and all that see the world's run folder mounted
// as the lab's.
func (w *world) processes(name string, pid int) []string {
	entries, _ := os.ReadDir("/proc")
	var found []string
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n == os.Getpid() {
			continue
		}
		stat, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || bytes.HasPrefix(stat[i:], []byte(") Z")) {
			continue // a zombie is a matter of its parent
		}
		cmdline, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		mounts, _ := os.ReadFile("/proc/" + e.Name() + "/mountinfo")
		if n == pid || bytes.Contains(cmdline, []byte("guest="+name+"-")) || bytes.Contains(mounts, []byte(filepath.Base(w.run)+"/"+name+" /run/lab/state")) {
			found = append(found, e.Name()+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// points are moments of bringing a lab up, from the first instant to well into the boot.
var points = []time.Duration{5, 40, 100, 200, 500, 1500}

// TestInterrupted: Ctrl-C at any point of up leaves nothing, not even a folder.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	for i, after := range points {
		name := fmt.Sprintf("int%d", i)
		cmd := w.command("up", "-q", "--name", name, "--nic", "virtio-net-pci")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		pid := w.pid(name)
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		// Before anything was started the command may not have asked for signals yet, and the signal itself ends it.
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted && (code != -1 || pid != 0) {
			t.Errorf("after %d ms: exit code %d", after, code)
		}
		w.nothingLeft(t, name, pid)
		if left, _ := os.ReadDir(w.run); len(left) > 0 {
			t.Errorf("after %d ms left in the run folder: %v", after, left)
		}
	}
}

// TestKilled: kill -9 of up at any point leaves no process; sweep removes the folder, and a second one has nothing to do.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	for i, after := range points {
		name := fmt.Sprintf("kill%d", i)
		cmd := w.command("up", "-q", "--name", name, "--nic", "virtio-net-pci")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		pid := w.pid(name)
		cmd.Process.Kill()
		cmd.Wait()
		w.nothingLeft(t, name, pid)
	}
	w.hostctl(0, "", "sweep")
	if out, _ := w.hostctl(0, "", "sweep"); out != "" {
		t.Errorf("second sweep: %q", out)
	}
	if left, _ := os.ReadDir(w.run); len(left) > 0 {
		t.Errorf("left in the run folder: %v", left)
	}
}

// TestKeeperKilled: when the lab's own first process is killed, everything goes with it, and ps and down say so.
func TestKeeperKilled(t *testing.T) {
	w := newWorld(t)
	out := filepath.Join(t.TempDir(), "evidence")
	w.hostctl(0, "", "up", "-q", "--name", "orphan", "-o", out)
	if log, _ := w.hostctl(0, "", "logs", "orphan/a"); !strings.Contains(log, "picolab: agent ready") {
		t.Errorf("console %q", log)
	}
	pid := w.pid("orphan")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.nothingLeft(t, "orphan", pid)
	if out, _ := w.hostctl(0, "", "ps"); !strings.Contains(out, "dead") {
		t.Errorf("ps: %s", out)
	}
	w.hostctl(exitUsage, "", "exec", "orphan/a", "--", "true")
	w.hostctl(0, "", "down", "orphan")
	if _, err := os.Stat(filepath.Join(w.run, "orphan")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder: %v", err)
	}
	if argv, err := os.ReadFile(filepath.Join(out, "a", "argv.txt")); err != nil || len(argv) == 0 {
		t.Errorf("evidence went with the lab: %v", err)
	}
}
