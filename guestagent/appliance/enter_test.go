package appliance

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/module"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// firstName is what this program is called when it plays PID 1.
const firstName = "appliance-test-first"

func TestMain(m *testing.M) {
	if os.Args[0] == firstName {
		s, err := first(os.Args[1], os.Args[2])
		if err == nil {
			err = second(s)
		}
		fmt.Println(err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// TestEnter enters the host image's root as PID 1 of namespaces of its own, on the kernel at hand.
func TestEnter(t *testing.T) {
	images := os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	root := filepath.Join(images, "host/root.squashfs")
	if _, err := os.Stat(root); err != nil {
		t.Fatal(err)
	}
	if known, _ := os.ReadFile("/proc/filesystems"); os.Geteuid() != 0 || !bytes.Contains(known, []byte("\tsquashfs\n")) || !bytes.Contains(known, []byte("\toverlay\n")) {
		t.Skip("mounting needs root, and a kernel with squashfs and overlay")
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = []string{firstName, t.TempDir(), root}
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC, Pdeathsig: unix.SIGKILL,
	}
	if err := cmd.Run(); err != nil || !strings.HasSuffix(said.String(), "<nil>\n") {
		t.Errorf("%v\n%s", err, said.String())
	}
}

// first makes a root in memory that looks like the one a kernel starts with, and enters the other one from there.
func first(dir, root string) (State, error) {
	file := filepath.Join(dir, "run/root.squashfs")
	for _, step := range []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "") },
		func() error { return errors.Join(mkdirs(dir, "old", "proc", "sys", "dev", "run", "bin/deep")) },
		func() error { return unix.Mount("proc", filepath.Join(dir, "proc"), "proc", 0, "") },
		func() error { return unix.Mount("sysfs", filepath.Join(dir, "sys"), "sysfs", 0, "") },
		func() error { return unix.Mount("/dev", filepath.Join(dir, "dev"), "", unix.MS_BIND, "") },
		func() error { return unix.Mount("tmpfs", filepath.Join(dir, "run"), "tmpfs", 0, "") },
		func() error {
			return errors.Join(os.WriteFile(file, nil, 0o600), os.WriteFile(filepath.Join(dir, "secret"), []byte("token"), 0o600))
		},
		func() error { return unix.Mount(root, file, "", unix.MS_BIND, "") },
		func() error { return unix.PivotRoot(dir, filepath.Join(dir, "old")) },
		func() error { return errors.Join(os.Chdir("/"), unix.Unmount("/old", unix.MNT_DETACH)) },
	} {
		if err := step(); err != nil {
			return State{}, err
		}
	}
	set, err := module.Open("/", "0")
	if err != nil {
		return State{}, err
	}
	o := Options{Device: "/run/root.squashfs", Copy: true, Wait: time.Second}
	return Enter(o, set, []string{"/secret", "/not/there"}, func(string, ...any) {})
}

func mkdirs(dir string, names ...string) (err error) {
	for _, n := range names {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, n), 0o755))
	}
	return err
}

// second looks around in the new root, on whichever thread.
func second(s State) error {
	if s.Device != "/run/root.squashfs" || s.Stick || os.Getpid() != 1 {
		return fmt.Errorf("state %+v, process %d", s, os.Getpid())
	}
	if err := sameRoot(); err != nil {
		return err
	}
	if data, err := os.ReadFile("/secret"); err != nil || string(data) != "token" {
		return fmt.Errorf("a file that should come along: %q, %w", data, err)
	}
	for _, there := range []string{"/usr/bin/qemu-system-x86_64", "/usr/share/picolab/images/guest/manifest.json", Root + "/usr/bin/bash", "/proc/self/exe", "/dev/null"} {
		if _, err := os.Stat(there); err != nil {
			return err
		}
	}
	if _, err := os.Stat("/bin/deep"); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the old root shows: %v", err)
	}
	if err := os.WriteFile("/etc/motd", []byte("changed"), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(Root+"/etc/motd", nil, 0o600); !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("the root file system can be written: %v", err)
	}
	if data, err := os.ReadFile(Root + "/etc/motd"); err != nil || string(data) == "changed" {
		return fmt.Errorf("what is written reaches the root file system: %q, %v", data, err)
	}
	return nil
}

// sameRoot: every thread of this process is in the new root.
func sameRoot() error {
	var ours unix.Stat_t
	if err := unix.Stat("/", &ours); err != nil {
		return err
	}
	threads, err := filepath.Glob("/proc/self/task/*/root")
	if len(threads) < 2 {
		return fmt.Errorf("threads %q, %v", threads, err)
	}
	for _, name := range threads {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil || st.Ino != ours.Ino || st.Dev != ours.Dev {
			return fmt.Errorf("%s is another root: %v", name, err)
		}
	}
	return nil
}
