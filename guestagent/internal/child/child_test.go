package child

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, r *Reaper, script string, out *os.File) *Process {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if out == nil {
		out = null
	}
	p, err := r.Start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), out.Fd(), 2}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exitOf(t *testing.T, p *Process) Exit {
	t.Helper()
	select {
	case e := <-p.Done():
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("not collected")
	}
	return Exit{}
}

func TestStart(t *testing.T) {
	t.Run("alone", func(t *testing.T) { checkStart(t, new(Reaper)) })
	t.Run("reaper", func(t *testing.T) {
		r := new(Reaper)
		r.Run()
		r.Run() // again: no effect
		defer r.Stop()
		checkStart(t, r)
	})
}

func checkStart(t *testing.T, r *Reaper) {
	var procs []*Process
	for i := range 20 {
		procs = append(procs, start(t, r, "exit "+strconv.Itoa(i), nil))
	}
	for i, p := range procs {
		if e := exitOf(t, p); e.Status.ExitStatus() != i {
			t.Errorf("exit %d, want %d", e.Status.ExitStatus(), i)
		}
	}
	if e := exitOf(t, start(t, r, "kill -9 $$", nil)); e.Status.Signal() != unix.SIGKILL {
		t.Errorf("%v", e.Status)
	}
	if _, err := r.Start("/no/such/file", []string{"x"}, &syscall.ProcAttr{}); err == nil {
		t.Error("no error")
	}
}

// TestOrphansAreReaped makes this process what PID 1 is for the rest: the parent of orphans.
func TestOrphansAreReaped(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Skipf("child subreaper: %v", err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	r := new(Reaper)
	r.Run()
	defer r.Stop()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := start(t, r, "sleep 0.1 & echo $!", w)
	w.Close()
	exitOf(t, p)
	buf := make([]byte, 20)
	n, _ := out.Read(buf)
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("orphan %d is not collected", pid)
}

// TestBesideOsExec shows that without the reaper others can wait for their own children.
func TestBesideOsExec(t *testing.T) {
	r := new(Reaper)
	p := start(t, r, "exit 3", nil)
	if err := exec.Command("true").Run(); err != nil {
		t.Error(err)
	}
	if e := exitOf(t, p); e.Status.ExitStatus() != 3 {
		t.Errorf("%v", e.Status)
	}
}
