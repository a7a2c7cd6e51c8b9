package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleKey makes this test binary something else than a test; see roles.
const roleKey = "PICOLAB_TEST_ROLE"

var roles = map[string]func() error{
	"ordinary": func() error { return ordinary() },
	"masked":   func() error { return masked() },
	"detach":   func() error { return detach() },
	"victim":   func() error { return victim() },
}

func playRole(role string) int {
	if err := roles[role](); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// nobody is an ordinary user.
func nobody(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("becoming another user needs root")
	}
}

func ordinary() error {
	var out strings.Builder
	s, err := Start(context.Background(), Spec{Root: "/", Entry: "look", Hostname: "lab-a", Env: []string{"PICOLAB_X=1"}, Stdout: &out})
	if err != nil {
		return err
	}
	_, err = s.Wait()
	fmt.Print(out.String())
	return err
}

func TestOrdinaryUser(t *testing.T) {
	needRoot(t)
	out, err := helper(t, "ordinary", nobody).CombinedOutput()
	if err != nil {
		t.Skipf("an ordinary user may not: %s", out)
	}
	if !strings.Contains(string(out), `"UID":0`) || !strings.Contains(string(out), `"Hostname":"lab-a"`) {
		t.Errorf("%s", out)
	}
}

// masked does what container engines do to /proc, in a mount namespace of its own.
func masked() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/proc/sys", "tmpfs", unix.MS_RDONLY, ""); err != nil {
		return err
	}
	c := exec.Command("/proc/self/exe")
	c.Env = []string{roleKey + "=ordinary"}
	nobody(c)
	out, err := c.CombinedOutput()
	fmt.Print(string(out))
	if err == nil {
		return fmt.Errorf("a masked /proc was not noticed")
	}
	return nil
}

func TestMaskedProcIsNamed(t *testing.T) {
	needRoot(t)
	out, err := helper(t, "masked", nil).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "mount proc on /proc") || !strings.Contains(string(out), "systempaths=unconfined") {
		t.Errorf("%v: %s", err, out)
	}
}

func detach() error {
	s, err := Start(context.Background(), Spec{Root: "/", Entry: "wait", Detach: true})
	if err != nil {
		return err
	}
	fmt.Println(s.Pid())
	return nil
}

func TestDetach(t *testing.T) {
	out, err := helper(t, "detach", nil).Output()
	if err != nil {
		t.Skipf("%v: %s", err, out)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if sid, err := unix.Getsid(pid); sid != pid || err != nil || !alive(pid) {
		t.Errorf("it did not survive its maker: session %d, %v", sid, err)
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Error(err)
	}
	for range 100 {
		if !alive(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("SIGTERM did not end it")
	_ = unix.Kill(pid, unix.SIGKILL)
}

// alive is false for a zombie: it is this machine's init that is slow then.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// TestStagesInBusybox: /proc/self/exe of an appliance's hostctl is a busybox, which goes by the base name of argv[0].
func TestStagesInBusybox(t *testing.T) {
	for _, name := range []string{initName, entryName} {
		if filepath.Base(name) != "hostctl" || name == "hostctl" {
			t.Errorf("stage %q", name)
		}
	}
}
