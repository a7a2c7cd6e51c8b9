package disk

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/client"
	"picolab/guestagent/transport"
	"picolab/guestagent/wire"
	"picolab/hostctl/vhostuser/vvsock"
	"picolab/images/manifest"
)

// token is what the agents of the tests are called with.
var token = strings.Repeat("5a", 16)

// qemuCommand is QEMU of the host image with its own libraries and firmware.
func qemuCommand(ctx context.Context, t testing.TB, host *manifest.Manifest, args ...string) *exec.Cmd {
	t.Helper()
	root, err := filepath.Abs(host.Root())
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(root, libraries)
	all := []string{"--library-path", lib, filepath.Join(root, "usr/bin/qemu-system-x86_64"),
		"-L", filepath.Join(root, "usr/share/seabios"), "-L", filepath.Join(root, "usr/share/qemu"), "-L", filepath.Join(root, "usr/lib/ipxe/qemu")}
	cmd := exec.CommandContext(ctx, filepath.Join(root, linker), append(all, args...)...)
	cmd.Env = append(os.Environ(), "QEMU_MODULE_DIR="+filepath.Join(lib, "qemu"))
	return cmd
}

// A pc is a running machine with its serial line, its vsock and its power button in hand.
type pc struct {
	t       testing.TB
	keys    io.Writer
	text    chan string
	seen    strings.Builder
	began   time.Time
	dev     *vvsock.Device
	monitor string
	stop    func() // pulls the plug
}

// powerOn starts a firmware's machine with so many MiB of memory; args are its disks and whatever else it has.
func powerOn(t testing.TB, host *manifest.Manifest, f firmware, memory int, args ...string) *pc {
	t.Helper()
	dir, err := os.MkdirTemp("", "disk-pc-") // the names of sockets have to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &pc{t: t, text: make(chan string), monitor: filepath.Join(dir, "monitor")}
	p.dev = vsock(t, filepath.Join(dir, "vsock"))
	f.machine = slices.Clone(f.machine)
	f.machine[1] += ",memory-backend=mem"
	all := slices.Concat(f.arguments(t, host, memory), args, []string{
		"-object", fmt.Sprintf("memory-backend-memfd,id=mem,size=%dM,share=on", memory),
		"-chardev", "socket,id=vsock,path=" + filepath.Join(dir, "vsock"), "-device", "vhost-user-vsock-pci,chardev=vsock",
		"-monitor", "unix:" + p.monitor + ",server=on,wait=off",
	})
	ctx, stop := context.WithCancel(t.Context())
	p.stop = stop
	cmd := qemuCommand(ctx, t, host, all...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	keys, kerr := cmd.StdinPipe()
	out, oerr := cmd.StdoutPipe()
	if kerr != nil || oerr != nil {
		t.Fatal(kerr, oerr)
	}
	p.keys, p.began = keys, time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(ctx, out)
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // killed
		if stderr.Len() > 0 {
			t.Logf("qemu: %s", stderr.String())
		}
	})
	return p
}

// vsock makes a vsock device without the kernel's help; QEMU connects to its socket.
func vsock(t testing.TB, socket string) *vvsock.Device {
	t.Helper()
	dev, err := vvsock.Listen(vvsock.Config{GuestCID: 3, Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- dev.Serve(context.Background()) }()
	t.Cleanup(func() {
		_ = dev.Close() // the machine is gone
		<-served
	})
	return dev
}

func (p *pc) read(ctx context.Context, out io.Reader) {
	defer close(p.text)
	for r, buf := bufio.NewReader(out), make([]byte, 4096); ; {
		n, err := r.Read(buf)
		if err != nil {
			return
		}
		select {
		case p.text <- string(buf[:n]):
		case <-ctx.Done():
			return
		}
	}
}

// until waits for one of the words on the console, so long at most; the first is what should come.
func (p *pc) until(most time.Duration, words ...string) {
	p.t.Helper()
	from := p.seen.Len()
	for late := time.After(most); ; {
		text := p.seen.String()[from:]
		if i := slices.IndexFunc(words, func(w string) bool { return strings.Contains(text, w) }); i == 0 {
			p.t.Logf("%q after %.1f s", words[0], time.Since(p.began).Seconds())
			return
		} else if i > 0 {
			p.t.Fatalf("%q instead of %q:\n%s", words[i], words[0], tail(p.seen.String()))
		}
		select {
		case more, ok := <-p.text:
			if !ok {
				p.t.Fatalf("the machine ended before %q:\n%s", words[0], tail(p.seen.String()))
			}
			p.seen.WriteString(more)
		case <-late:
			p.t.Fatalf("no %q within %v:\n%s", words[0], most, tail(p.seen.String()))
		}
	}
}

// enter types a line on the serial console.
func (p *pc) enter(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.keys, line+"\r"); err != nil {
		p.t.Fatal(err)
	}
}

// choose picks a line of GRUB's menu: Ctrl-N is the line below.
func (p *pc) choose(line int) {
	p.t.Helper()
	p.until(bootTime, "executed automatically")
	p.enter(strings.Repeat("\x0e", line))
}

// hello calls the agent. The console goes on meanwhile: QEMU waits for whoever reads it.
func (p *pc) hello() (*client.Client, *wire.HelloReply) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), bootTime)
	defer cancel()
	stop := p.listen()
	var c *client.Client
	reply, err := transport.Retry(ctx, 100*time.Millisecond, func(ctx context.Context) (*wire.HelloReply, error) {
		conn, err := p.dev.Dial(ctx, wire.Port)
		if err != nil {
			return nil, err
		}
		c = client.New(conn)
		reply, err := c.Hello(ctx, token)
		if err != nil {
			_ = c.Close() // it did not work
		}
		return reply, err
	})
	stop()
	if err != nil {
		p.t.Fatalf("no Hello: %v\n%s", err, tail(p.seen.String()))
	}
	p.t.Logf("Hello after %.1f s", time.Since(p.began).Seconds())
	p.t.Cleanup(func() { _ = c.Close() }) // the machine may be gone
	return c, reply
}

// listen takes in the console's text until stop is called.
func (p *pc) listen() (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case more, ok := <-p.text:
				if !ok {
					return
				}
				p.seen.WriteString(more)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

// powerOff presses the power button and waits until the machine has ended in order.
func (p *pc) powerOff(agent *client.Client) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), bootTime)
	defer cancel()
	stop := p.listen()
	_, err := agent.Settle(ctx) // the button has a driver
	stop()
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := net.Dial("unix", p.monitor)
	if err == nil {
		defer conn.Close()
		_, err = io.WriteString(conn, "system_powerdown\n")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.until(bootTime, "picolab: power button", "Kernel panic")
	p.end(bootTime)
}

// end waits until the machine has ended by itself.
func (p *pc) end(most time.Duration) {
	p.t.Helper()
	for late := time.After(most); ; {
		select {
		case more, ok := <-p.text:
			if !ok {
				p.t.Logf("off after %.1f s", time.Since(p.began).Seconds())
				return
			}
			p.seen.WriteString(more)
		case <-late:
			p.t.Fatalf("it does not end:\n%s", tail(p.seen.String()))
		}
	}
}
