package vnet

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"picolab/hostctl/vhostuser"
)

// TestQEMU boots the network boot ROM of QEMU's virtio-net, whose driver asks for an address: the whole of the protocol, and
// rings, without an operating system.
func TestQEMU(t *testing.T) {
	for _, q := range qemus(t) {
		t.Run(q.name, func(t *testing.T) {
			for _, device := range []string{"", ",mq=on"} {
				t.Run("virtio-net"+device, func(t *testing.T) { netBoot(t, q, device) })
			}
		})
	}
}

// qemu is how to run one.
type qemu struct {
	name string
	argv []string
	env  []string
}

// qemus are the one on the PATH, and the host image's.
func qemus(t *testing.T) (found []qemu) {
	t.Helper()
	if path, err := exec.LookPath("qemu-system-x86_64"); err == nil {
		found = append(found, qemu{name: "on PATH", argv: []string{path}})
	}
	root := filepath.Join(os.Getenv("PICOLAB_IMAGES"), "host", "root")
	program := root + "/usr/bin/qemu-system-x86_64"
	if _, err := os.Stat(program); err == nil && os.Getenv("PICOLAB_IMAGES") != "" {
		found = append(found, qemu{"of the host image",
			[]string{root + "/usr/lib64/ld-linux-x86-64.so.2", "--library-path", root + "/usr/lib/x86_64-linux-gnu", program,
				"-L", root + "/usr/share/seabios", "-L", root + "/usr/share/qemu", "-L", root + "/usr/lib/ipxe/qemu"},
			[]string{"QEMU_MODULE_DIR=" + root + "/usr/lib/x86_64-linux-gnu/qemu"}})
	}
	if len(found) == 0 {
		t.Skip("no qemu-system-x86_64 on PATH, and PICOLAB_IMAGES not set: run make test")
	}
	return found
}

const netBootMAC = "5254000a0b0c"

func netBoot(t *testing.T, q qemu, device string) {
	path := filepath.Join(socketDir(t), "s")
	var mu sync.Mutex
	var trace []string
	pairs := 1
	if device == ",mq=on" {
		pairs = 2
	}
	port := servePairs(t, path, pairs, vhostuser.Options{Logf: t.Logf, Trace: func(f string, a ...any) {
		mu.Lock()
		defer mu.Unlock()
		trace = append(trace, fmt.Sprintf(f, a...))
	}})
	args := append(q.argv[1:len(q.argv):len(q.argv)], "-nodefaults", "-no-user-config", "-display", "none",
		"-machine", "q35,memory-backend=mem", "-accel", "tcg", "-m", "64", "-object", "memory-backend-memfd,id=mem,size=64M,share=on",
		"-chardev", "socket,id=c,path="+path, "-netdev", fmt.Sprintf("vhost-user,id=n,chardev=c,queues=%d", pairs),
		// Without vectors=0, QEMU 7.2 crashes under TCG when a driver is ready.
		"-device", "virtio-net-pci,netdev=n,mac=52:54:00:0a:0b:0c,vectors=0,bootindex=0"+device)
	cmd := exec.Command(q.argv[0], args...)
	var output bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), q.env...), &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			mu.Lock()
			defer mu.Unlock()
			t.Logf("%s\n%q", output.String(), trace)
		}
	}()
	in := frameRoom(8)
	for limit := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if n, _ := port.Take(0, in); n > 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the guest sends nothing")
		}
	}
	if f := hex.EncodeToString(in[0].Data); len(f) < 28 || f[12:24] != netBootMAC {
		t.Errorf("frame %.60s, want one from %s", f, netBootMAC)
	}
	if n := port.Put(0, []Frame{{Data: pattern(60, 0)}}); n != 1 {
		t.Errorf("the guest takes no frame: %+v", port.Stats())
	}
}
