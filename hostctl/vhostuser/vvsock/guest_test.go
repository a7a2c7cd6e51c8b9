package vvsock

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"picolab/hostctl/internal/newc"
	"picolab/hostctl/internal/proc"
)

// bootLimit is how long a guest may take to its "guest: ready" line. Under TCG on a busy machine it takes about 5 s.
const bootLimit = 2 * time.Minute

// images returns $PICOLAB_IMAGES, or skips.
func images(t testing.TB) string {
	dir := os.Getenv("PICOLAB_IMAGES")
	if dir == "" {
		t.Skip("PICOLAB_IMAGES not set: run make test")
	}
	return dir
}

// vm is a guest under QEMU with a vsock device of ours.
type vm struct {
	dev     *Device
	dir     string
	console *consoleLog
	qemu    *proc.Process
}

// bootVM starts a guest and waits until its services are there.
func bootVM(t testing.TB, extra ...string) *vm {
	t.Helper()
	return bootVMWith(t, "", extra...)
}

// bootVMWith is bootVM with properties of the device, ",name=value" each.
func bootVMWith(t testing.TB, properties string, extra ...string) *vm {
	t.Helper()
	img, dir := images(t), t.TempDir()
	v := &vm{dir: dir, console: &consoleLog{}}
	cfg := Config{GuestCID: 42, Socket: dir + "/vhost", UDS: dir + "/vsock", Logf: t.Logf}
	dev, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v.dev = dev
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- dev.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	v.qemu, err = proc.Start(context.Background(), v.command(t, img, properties, extra))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		v.qemu.Kill(0)
		_ = v.qemu.Wait()
		if t.Failed() {
			t.Logf("console:\n%s", v.console)
		}
	})
	v.waitReady(t, 1)
	return v
}

// command is QEMU from the host image, run by that image's own loader and libraries.
func (v *vm) command(t testing.TB, img, properties string, extra []string) proc.Cmd {
	kernel, initrd := bootFiles(t, img, v.dir)
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35,memory-backend=mem", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "256",
		"-object", "memory-backend-memfd,id=mem,size=256M,share=on",
		"-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 quiet rdinit=/vsockguest",
		"-serial", "stdio",
		"-chardev", "socket,id=vsock,path=" + v.dev.cfg.Socket,
		"-device", "vhost-user-vsock-pci,chardev=vsock" + properties,
	}
	cmd := proc.Cmd{Path: "qemu-system-x86_64", Args: append(args, extra...), Stdout: v.console, Stderr: v.console}
	if root := filepath.Join(img, "host", "root"); exists(root) {
		cmd.Path = root + "/usr/lib64/ld-linux-x86-64.so.2"
		cmd.Args = append([]string{"--library-path", root + "/usr/lib/x86_64-linux-gnu", root + "/usr/bin/qemu-system-x86_64",
			"-L", root + "/usr/share/seabios", "-L", root + "/usr/share/qemu", "-L", root + "/usr/lib/ipxe/qemu"}, cmd.Args...)
		cmd.Env = append(os.Environ(), "QEMU_MODULE_DIR="+root+"/usr/lib/x86_64-linux-gnu/qemu")
	}
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// bootFiles returns the guest image's kernel and its segments, followed by one with the test's own init.
func bootFiles(t testing.TB, img, dir string) (kernel, initrd string) {
	t.Helper()
	guest := filepath.Join(img, "guest")
	var m struct{ Files []struct{ Name, Role string } }
	b, err := os.ReadFile(filepath.Join(guest, "manifest.json"))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	var segments bytes.Buffer
	for _, f := range m.Files {
		path := filepath.Join(guest, f.Name)
		switch f.Role {
		case "kernel":
			kernel = path
		case "segment":
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			segments.Write(b)
			segments.Write(make([]byte, -len(b)&3)) // the kernel wants each segment aligned
		}
	}
	if err := newc.Write(&segments, []newc.File{{Path: "vsockguest", Mode: 0o755, Data: guestProgram(t)}}); err != nil {
		t.Fatal(err)
	}
	initrd = filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, segments.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return kernel, initrd
}

// guestProgram builds testdata/guest once.
var guestBuild struct {
	sync.Once
	data []byte
	err  error
}

func guestProgram(t testing.TB) []byte {
	t.Helper()
	guestBuild.Do(func() {
		dir, err := os.MkdirTemp("", "vsockguest")
		if err != nil {
			guestBuild.err = err
			return
		}
		defer os.RemoveAll(dir)
		out := filepath.Join(dir, "guest")
		cmd := proc.Cmd{Path: "go", Args: []string{"build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/guest"},
			Env: append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")}
		if guestBuild.err = proc.Run(context.Background(), cmd); guestBuild.err == nil {
			guestBuild.data, guestBuild.err = os.ReadFile(out)
		}
	})
	if guestBuild.err != nil {
		t.Fatal(guestBuild.err)
	}
	return guestBuild.data
}

// waitReady waits for the n-th boot to come up.
func (v *vm) waitReady(t testing.TB, n int) {
	t.Helper()
	limit := time.After(bootLimit)
	for strings.Count(v.console.String(), "guest: ready") < n {
		select {
		case <-v.qemu.Done():
			t.Fatalf("QEMU ended: %v", v.qemu.Wait())
		case <-limit:
			t.Fatalf("guest is not ready after %v", bootLimit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dial connects to a service of the guest.
func (v *vm) dial(t testing.TB, port uint32) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := v.dev.Dial(ctx, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	return c.(*Conn)
}

// dialHybrid connects through the unix socket.
func (v *vm) dialHybrid(t testing.TB, port uint32) (*net.UnixConn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("unix", v.dev.cfg.UDS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(c, "CONNECT %d\n", port)
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "OK ") {
		t.Fatalf("CONNECT %d: %q, %v", port, line, err)
	}
	return c.(*net.UnixConn), r
}

// consoleLog collects what the guest and QEMU print.
type consoleLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*consoleLog)(nil)

func (l *consoleLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *consoleLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
