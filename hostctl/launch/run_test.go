package launch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"picolab/hostctl/internal/proc"
	"picolab/hostctl/internal/switchboard"
	"picolab/hostctl/vale/ctl"
	"picolab/images/manifest"
)

// onTerminal in the environment makes this test binary run a command in the foreground of its terminal.
const onTerminal = "PICOLAB_TEST_ON_TERMINAL"

// terminalMain is that process: it runs a shell that reads a line and spoils the terminal, and says what it finds then.
func terminalMain() {
	command := proc.Cmd{Path: "sh", Args: []string{"-c", `read x; echo "got $x"; stty raw -echo; exit 3`}, Stdin: os.Stdin, Stdout: os.Stdout}
	err := inForeground(context.Background(), command)
	var exit *proc.ExitError
	group, gerr := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	state, terr := unix.IoctlGetTermios(0, unix.TCGETS)
	fmt.Printf("exit %v, foreground %v, echo %v, errors %v %v\n", errors.As(err, &exit), group == unix.Getpgrp(), terr == nil && state.Lflag&unix.ECHO != 0, gerr, terr)
}

// openTerminal makes a pseudo-terminal (pts(4)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// TestForeground: what is typed reaches the command, and the terminal is as before when it has ended.
func TestForeground(t *testing.T) {
	master, slave := openTerminal(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), onTerminal+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }) // a command in the background would wait for ever
	defer stop.Stop()
	if _, err := master.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	slave.Close()
	said, _ := io.ReadAll(master) // which ends with an error when no process has the terminal
	for _, want := range []string{"got hello", "exit true, foreground true, echo true, errors <nil> <nil>"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("no %q in %q", want, said)
		}
	}
}

// TestRefusals: what cannot work is said before QEMU is started.
func TestRefusals(t *testing.T) {
	run := t.TempDir()
	t.Setenv("PICOLAB_RUN", run)
	t.Setenv("PICOLAB_CACHE", t.TempDir())
	for args, want := range map[string]string{
		"qemu --tap 77":                       "no interface tap77",
		"qemu --vhost-user 01":                run + "/vhost-user/01.sock",
		"qemu --vhost-user /nonexistent/sock": "/nonexistent/sock",
	} {
		l := launcher{std: Stdio{Out: &bytes.Buffer{}}}
		var err error
		if l.o, err = ParseOptions(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if err := l.check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if err := QEMU(t.Context(), Stdio{}, []string{"qemu", "--image", t.TempDir()}); err == nil {
		t.Error("a folder without an image is booted")
	}
}

// TestVale: the first port starts the switches, the next finds them, and ports go with their machines.
func TestVale(t *testing.T) {
	t.Setenv("PICOLAB_RUN", t.TempDir())
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexport %s=1\nexec %s \"$@\"\n", asSwitch, must(os.Executable()))
	if err := os.WriteFile(filepath.Join(dir, "hostctl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	run := os.Getenv("PICOLAB_RUN")
	var log bytes.Buffer
	open := func(args string) (*valePorts, error) {
		o, err := ParseOptions(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		return openVale(t.Context(), o.Cards, run, &log)
	}
	first, err := open("qemu --vale 01 --nic virtio-net-pci --netuser 02")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(endSwitch(t, controlSocket()))
	second, err := open("qemu --vale 02")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(log.String(), "switch --control") != 1 {
		t.Errorf("switches were started so: %s", log.String())
	}
	for _, path := range []string{"vale/vale0:01.sock", "vale/vale0:02.stream"} {
		if info, err := os.Stat(filepath.Join(run, path)); err != nil || info.Mode()&os.ModeSocket == 0 {
			t.Errorf("no socket %s: %v", path, err)
		}
	}
	if _, err := open("qemu --vale 02"); err == nil || !strings.Contains(err.Error(), "--vale 02: ") {
		t.Errorf("a port that is taken is given away again: %v", err)
	}
	if got := portNames(t, first.client); got != "01 02" {
		t.Errorf("ports %q", got)
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
	if got := portNames(t, first.client); got != "" {
		t.Errorf("ports %q have stayed", got)
	}
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

func portNames(t *testing.T, c ctl.Client) string {
	t.Helper()
	all, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		for _, p := range s.Ports {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// asSwitch in the environment makes this test binary hostctl switch --control SOCKET, until the socket is removed.
const asSwitch = "PICOLAB_TEST_AS_SWITCH"

func switchMain() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	socket := os.Args[len(os.Args)-1]
	go func() {
		for began := false; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(socket); err == nil {
				began = true
			} else if began {
				cancel()
			}
		}
	}()
	return switchboard.Serve(ctx, switchboard.ServeOptions{Control: socket, Logf: func(string, ...any) {}})
}

// endSwitch ends it, and waits until nobody answers.
func endSwitch(t *testing.T, socket string) func() {
	return func() {
		if err := os.Remove(socket); err != nil {
			t.Error(err)
		}
	}
}

// withQEMU puts the host image's QEMU in front of PATH.
func withQEMU(t *testing.T) (images string) {
	t.Helper()
	images = os.Getenv("PICOLAB_IMAGES")
	if images == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	host, err := manifest.Read(filepath.Join(images, "host"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(host.Root())
	if err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/sh
lib=` + root + `/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR=$lib/qemu
exec ` + root + `/usr/lib64/ld-linux-x86-64.so.2 --library-path $lib ` + root + `/usr/bin/qemu-system-x86_64 \
	-L ` + root + `/usr/share/seabios -L ` + root + `/usr/share/qemu "$@"
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return images
}

// TestLaunch boots the guest image to its agent's Hello. The command that is shown is the one that ran.
func TestLaunch(t *testing.T) {
	images := withQEMU(t)
	guest, err := manifest.Read(filepath.Join(images, "guest"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PICOLAB_RUN", t.TempDir())
	t.Setenv("PICOLAB_CACHE", t.TempDir())
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := QEMU(ctx, Stdio{Out: &out, Err: os.Stderr}, strings.Fields("qemu --netuser 01 --wait")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"qemu-system-x86_64 -name guest=launch-netuser01", "-device e1000,", "Hello from launch-netuser01: image " + guest.ID, guest.KernelRelease} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
